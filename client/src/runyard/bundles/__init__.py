"""Code as an archive named by its content: made here, kept in ConfigMaps or in the code store."""
