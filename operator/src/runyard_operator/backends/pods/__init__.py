"""What the executors that run pods share: the template, the command, and how to read pods."""
