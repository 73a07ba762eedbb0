"""docs/fields.md against the lists of NeMo-Run's fields and against the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "fields.md").read_text(encoding="utf-8")

# NeMo-Run 0.12.0, as read from its source.
FIELDS = {
    "All executors": "packager launcher env_vars retries experiment_id job_dir",
    "`KubeflowExecutor`": """
        runtime_ref namespace image num_nodes nprocs_per_node gpus_per_node cpu_requests
        memory_requests cpu_limits memory_limits extra_resource_requests extra_resource_limits
        volume_mounts volumes labels annotations pod_annotations pod_labels tolerations affinity
        env_list pod_spec_overrides data_mover_image restart_policy image_pull_secrets spec_kwargs
        container_kwargs workdir_pvc workdir_pvc_path workdir_local_path train_job_basename""",
    "`KubeRayExecutor`": """
        namespace ray_version image head_cpu head_memory ray_head_start_params
        ray_worker_start_params worker_groups labels service_type head_ports volume_mounts volumes
        reuse_volumes_in_worker_groups spec_kwargs container_kwargs lifecycle_kwargs
        group.group_name group.replicas group.min_replicas group.max_replicas group.gpus_per_worker
        group.cpu_requests group.memory_requests group.cpu_limits group.memory_limits
        group.volume_mounts group.volumes group.labels group.annotations""",
    "`LocalExecutor`": "ntasks_per_node nodes",
    "Packagers": """
        Packager.debug Packager.symlink_from_remote_dir GitArchivePackager.basepath
        GitArchivePackager.subpath GitArchivePackager.ref GitArchivePackager.include_submodules
        GitArchivePackager.include_pattern GitArchivePackager.include_pattern_relative_path
        GitArchivePackager.check_uncommitted_changes GitArchivePackager.check_untracked_files
        PatternPackager.include_pattern PatternPackager.relative_path HybridPackager.sub_packagers
        HybridPackager.extract_at_root""",
    "Launchers": """
        Launcher.nsys_profile Launcher.nsys_folder Launcher.nsys_filename Launcher.nsys_trace
        Launcher.nsys_extra_args Launcher.nsys_gpu_metrics Torchrun.rdzv_backend Torchrun.rdzv_port
        Torchrun.rdzv_id FaultTolerance.cfg_path FaultTolerance.finished_flag_file
        FaultTolerance.job_results_file FaultTolerance.rdzv_backend FaultTolerance.rdzv_port
        FaultTolerance.rdzv_id FaultTolerance.workload_check_interval
        FaultTolerance.initial_rank_heartbeat_timeout FaultTolerance.rank_heartbeat_timeout
        FaultTolerance.rank_termination_signal FaultTolerance.log_level FaultTolerance.max_restarts
        SlurmTemplate.template_path SlurmTemplate.template_inline SlurmTemplate.template_vars
        SlurmRay""",
    "Macros": """
        head_node_ip_var nproc_per_node_var num_nodes_var node_rank_var het_group_host_var
        ft_launcher_cfg_path_var""",
}


def rows(section: str) -> list[tuple[list[str], str, list[str]]]:
    """Of a section's table: the names, what is said of them, and the tests."""
    (text,) = (part for part in TEXT.split("\n## ") if part.startswith(section))
    cells = re.findall(r"^\| (`[^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    code = re.compile(r"`([^`]+)`")
    return [(code.findall(one), what, code.findall(tests)) for one, what, tests in cells]


@pytest.mark.parametrize("section", FIELDS)
def test_every_field_of_nemo_run_is_in_the_table(section: str) -> None:
    """Each one once, and none that NeMo-Run does not have."""
    found = [name for names, _, _ in rows(section) for name in names]
    assert sorted(found) == sorted(FIELDS[section].split())


@pytest.mark.parametrize("section", FIELDS)
def test_every_row_is_tested_or_says_why_it_has_no_counterpart(section: str) -> None:
    """The tests that are named exist."""
    for names, what, tests in rows(section):
        assert tests or what.startswith("none"), names
        for each in tests:
            file, _, function = each.partition("::")
            code = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {function}\(", code, re.MULTILINE), each
