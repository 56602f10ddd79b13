"""Counting workers in what Envoy says."""

from edge.state.health import Health
from edge.state.workers import healthy_workers


def test_only_hosts_that_no_check_speaks_against_count() -> None:
    good = {"health_status": {"eds_health_status": "HEALTHY"}}
    bad = {"health_status": {"eds_health_status": "HEALTHY", "failed_active_health_check": True}}
    ejected = {"health_status": {"failed_outlier_check": True, "eds_health_status": "HEALTHY"}}
    clusters = [
        {"name": "asr", "host_statuses": [good, bad, good, ejected]},
        {"name": "tts"},
        {"name": "asr_ops", "host_statuses": [good]},
    ]
    assert healthy_workers({"cluster_statuses": clusters}) == {"asr": 2, "tts": 0}
    assert healthy_workers({}) == {}


def test_the_detailed_answer_keeps_strings_and_adds_counts() -> None:
    health = Health(serving={"asr": True}, workers={"asr": 2})
    body = health.detailed("1")[1]
    assert body["components"]["lightning_asr"] == "healthy"
    assert body["workers"] == {"lightning_asr": 2}
