"""What the rendered bootstrap promises, and what the sidecar's environment may say."""

import json
from pathlib import Path
from typing import Any

import pytest

from envoy.__main__ import from_environment
from envoy.render import render, write
from envoy.sidecar import Endpoint, Ingress, Sidecar

ASR = (Endpoint("127.0.0.1", 9001), Endpoint("127.0.0.1", 9002))
UPSTREAMS = {
    "asr": ASR,
    "tts": (Endpoint("tts", 8876),),
    "license": (Endpoint("127.0.0.1", 9003),),
    "session": (Endpoint("127.0.0.1", 9004),),
}


def whole_mesh(**changes: Any) -> Sidecar:
    described: dict[str, Any] = {
        "ingress": (Ingress("asr", Endpoint("127.0.0.1", 2233), ASR, (Endpoint("127.0.0.1", 9101),)),),
        "upstreams": UPSTREAMS,
        "egress": Endpoint("127.0.0.1", 15001),
        "public": Endpoint("127.0.0.1", 7200),
    }
    return Sidecar("test", **(described | changes))


def cluster(bootstrap: dict[str, Any], name: str) -> dict[str, Any]:
    found = [c for c in bootstrap["static_resources"]["clusters"] if c["name"] == name]
    assert len(found) == 1, f"{name}: {len(found)} clusters"
    return dict(found[0])


def manager(bootstrap: dict[str, Any], listener: str) -> dict[str, Any]:
    found = [x for x in bootstrap["static_resources"]["listeners"] if x["name"] == listener]
    return dict(found[0]["filter_chains"][0]["filters"][0]["typed_config"])


def routes(bootstrap: dict[str, Any], listener: str) -> list[dict[str, Any]]:
    return list(manager(bootstrap, listener)["route_config"]["virtual_hosts"][0]["routes"])


def test_egress_routes_every_service_by_its_path() -> None:
    by_prefix = {r["match"]["prefix"]: r for r in routes(render(whole_mesh()), "egress") if "route" in r}
    for service in UPSTREAMS:
        name = f"/voxmesh.{service}.v1.{service.capitalize()}Service/"
        assert by_prefix[name]["route"]["cluster"] == service


def test_streams_have_no_deadline_and_unary_calls_do() -> None:
    by_cluster = {
        r["route"]["cluster"]: r["route"] for r in routes(render(whole_mesh()), "egress")[:4] if "route" in r
    }
    assert by_cluster["asr"]["timeout"] == by_cluster["tts"]["timeout"] == "0s"
    assert by_cluster["license"]["timeout"] == by_cluster["session"]["timeout"] == "15s"


def test_only_calls_the_service_never_saw_are_retried() -> None:
    policies = [
        r["route"]["retry_policy"]
        for r in routes(render(whole_mesh()), "egress")
        if "retry_policy" in r.get("route", {})
    ]
    assert policies and all(p["retry_on"] == "connect-failure,refused-stream" for p in policies)


def test_a_starting_worker_is_checked_again_within_a_second() -> None:
    check = cluster(render(whole_mesh()), "asr")["health_checks"][0]
    assert check["no_traffic_interval"] == check["no_traffic_healthy_interval"] == "1s"


def test_no_worker_means_no_panic_routing() -> None:
    assert cluster(render(whole_mesh()), "asr")["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}


def test_every_worker_is_an_endpoint() -> None:
    endpoints = cluster(render(whole_mesh()), "asr")["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [e["endpoint"]["address"]["socket_address"]["port_value"] for e in endpoints] == [9001, 9002]


def test_names_are_resolved_and_addresses_are_not() -> None:
    bootstrap = render(whole_mesh())
    assert cluster(bootstrap, "tts")["cluster_type"]["name"] == "envoy.cluster.dns"
    assert cluster(bootstrap, "asr")["type"] == "STATIC"


def test_public_calls_are_authorised_and_health_is_not() -> None:
    bootstrap = render(whole_mesh())
    filters = [f["name"] for f in manager(bootstrap, "public")["http_filters"]]
    assert filters == ["envoy.filters.http.ext_authz", "envoy.filters.http.router"]
    exempt = [r["match"] for r in routes(bootstrap, "public") if "typed_per_filter_config" in r]
    assert exempt == [{"prefix": "/grpc.health.v1.Health/"}]


def test_the_public_port_reaches_speech_services_only() -> None:
    reached = {r["route"]["cluster"] for r in routes(render(whole_mesh()), "public") if "route" in r}
    assert reached == {"asr", "tts"}


def test_other_vendors_grpc_goes_to_the_edge_with_its_key() -> None:
    found = render(whole_mesh(dialects=Endpoint("127.0.0.1", 9005)))
    to_edge = [r for r in routes(found, "public") if r.get("route", {}).get("cluster") == "edge_dialects"]
    assert [r["match"]["prefix"] for r in to_edge] == [
        "/nvidia.riva.asr.RivaSpeechRecognition/",
        "/nvidia.riva.tts.RivaSpeechSynthesis/",
    ]
    # The authorisation filter counts a call and takes its key away; the edge does both itself.
    assert all("envoy.filters.http.ext_authz" in r["typed_per_filter_config"] for r in to_edge)
    assert all(r["route"]["timeout"] == "0s" for r in to_edge)
    assert cluster(found, "edge_dialects")["type"] == "STATIC"


def test_access_logs_hold_no_secrets() -> None:
    for listener in ("ingress_asr", "egress", "public"):
        fields = manager(render(whole_mesh()), listener)["access_log"][0]["typed_config"]["log_format"]
        text = json.dumps(fields).lower()
        assert "authorization" not in text and "%path(nq)%" in text


def test_admin_stays_on_loopback() -> None:
    assert render(whole_mesh())["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_one_envoy_for_all_shares_the_upstream_cluster() -> None:
    bootstrap = render(whole_mesh())
    assert routes(bootstrap, "ingress_asr")[0]["route"]["cluster"] == "asr"
    assert "asr_local" not in {c["name"] for c in bootstrap["static_resources"]["clusters"]}


def test_a_container_sidecar_calls_the_process_beside_it() -> None:
    sidecar = from_environment({"SIDECAR_SERVICE": "asr", "SHUTDOWN_GRACE_S": "7"})
    bootstrap = render(sidecar)
    assert [x["name"] for x in bootstrap["static_resources"]["listeners"]] == ["ingress_asr"]
    address = cluster(bootstrap, "asr_local")["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert address["endpoint"]["address"]["socket_address"]["port_value"] == 12233
    assert "health_checks" not in cluster(bootstrap, "asr_local")
    assert sidecar.drain_s == 7


def test_the_known_variables_name_the_upstreams() -> None:
    sidecar = from_environment(
        {
            "LIGHTNING_ASR_BASE_URL": "http://asr-1:2233,http://asr-2:2233/",
            "LIGHTNING_TTS_BASE_URL": "tts",
            "API_BASE_URL": "http://license:3369",
            "SIDECAR_PUBLIC": "0.0.0.0:7200",
        }
    )
    assert sidecar.upstreams["asr"] == (Endpoint("asr-1", 2233), Endpoint("asr-2", 2233))
    assert sidecar.upstreams["tts"] == (Endpoint("tts", 8876),)
    assert sidecar.upstreams["license"] == (Endpoint("license", 3369),)
    assert sidecar.egress == Endpoint("127.0.0.1", 15001)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SIDECAR_SERVICE": "asrr"}, "SIDECAR_SERVICE"),
        ({"LIGHTNING_ASR_BASE_URL": "http://asr:port"}, "LIGHTNING_ASR_BASE_URL"),
        ({"SIDECAR_SERVICE": "asr", "SIDECAR_LISTEN": "nowhere"}, "SIDECAR_LISTEN"),
        ({"SIDECAR_SERVICE": "asr", "SHUTDOWN_GRACE_S": "soon"}, "SHUTDOWN_GRACE_S"),
        ({"SIDECAR_PUBLIC": "0.0.0.0:7200"}, "public listener needs upstreams"),
    ],
)
def test_a_wrong_variable_is_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_environment(env)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", Endpoint("127.0.0.1", 80)),
        ("[::1]:80", Endpoint("::1", 80)),
        ("http://asr:2233/x", Endpoint("asr", 2233)),
        ("asr", Endpoint("asr", 1)),
        ("[::1]", Endpoint("::1", 1)),
    ],
)
def test_endpoints_are_read(text: str, expected: Endpoint) -> None:
    assert Endpoint.parse(text, default_port=1) == expected


def test_the_file_is_json(tmp_path: Path) -> None:
    path = write(whole_mesh(), tmp_path / "deep" / "bootstrap.json")
    assert json.loads(path.read_text()) == render(whole_mesh())
