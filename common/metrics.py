"""Every metric of the mesh: name, meaning, buckets. Exported by each service's /metrics.

Names under `asr_` are those that dashboards and autoscalers of compatible deployments already read.
"""

from opentelemetry import metrics

_meter = metrics.get_meter("voxmesh")

LATENCY_BUCKETS_S = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.75,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
RTF_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0)


def _count(name: str, description: str) -> metrics.Counter:
    return _meter.create_counter(name, description=description)


def _level(name: str, description: str) -> metrics.UpDownCounter:
    return _meter.create_up_down_counter(name, description=description)


def _gauge(name: str, description: str) -> "metrics._Gauge":
    return _meter.create_gauge(name, description=description)


def _histogram(name: str, description: str, buckets: tuple[float, ...]) -> metrics.Histogram:
    return _meter.create_histogram(
        name, description=description, explicit_bucket_boundaries_advisory=list(buckets)
    )


# Every service
rpc_requests = _count("rpc_requests", "gRPC calls by method and status")
rpc_duration_seconds = _histogram("rpc_duration_seconds", "Duration of gRPC calls", LATENCY_BUCKETS_S)

# asr
asr_active_requests = _level("asr_active_requests", "Batch requests in work")
asr_active_streams = _level("asr_active_streams", "Open live streams")
asr_batch_queue_depth = _gauge("asr_batch_queue_depth", "Batch windows that wait for a slot")
asr_stream_queue_depth = _gauge("asr_stream_queue_depth", "Stream windows that wait for a slot")
asr_requests = _count("total_requests", "Recognition requests")
asr_total_requests = _count("asr_requests", "Recognition requests by mode")
asr_failed_requests = _count("asr_failed_requests", "Recognition requests that ended with an error")
asr_errors = _count("asr_errors", "Recognition errors by code")
asr_processing_duration_seconds = _histogram(
    "asr_processing_duration_seconds", "Model time of a request by language", LATENCY_BUCKETS_S
)
asr_e2e_latency_seconds = _histogram(
    "asr_e2e_latency_seconds", "From the end of the audio to the last word", LATENCY_BUCKETS_S
)
asr_real_time_factor = _histogram("asr_real_time_factor", "Model time over audio time", RTF_BUCKETS)
asr_model_load_time_seconds = _gauge("asr_model_load_time_seconds", "Time to load a checkpoint")
asr_audio_seconds = _count("asr_audio_seconds", "Audio received")

# tts
tts_active_requests = _level("tts_active_requests", "Streams in work")
tts_requests = _count("tts_requests", "Synthesis requests")
tts_failed_requests = _count("tts_failed_requests", "Synthesis requests that ended with an error")
tts_first_audio_seconds = _histogram(
    "tts_first_audio_seconds", "From the first text that can be spoken to the first audio", LATENCY_BUCKETS_S
)
tts_real_time_factor = _histogram("tts_real_time_factor", "Model time over audio time", RTF_BUCKETS)
tts_characters = _count("tts_characters", "Characters spoken")
tts_unknown_phonemes = _count("tts_unknown_phonemes", "Phonemes a voice has no sign for, by voice")
tts_audio_seconds = _count("tts_audio_seconds", "Audio produced")
tts_cache_lookups = _count("tts_cache_lookups", "Whole requests looked up in the result cache, by result")

# edge
edge_requests = _count("edge_requests", "Requests by route, dialect and status")
edge_request_duration_seconds = _histogram(
    "edge_request_duration_seconds", "Duration of requests by route", LATENCY_BUCKETS_S
)
edge_open_sockets = _level("edge_open_sockets", "Open WebSockets by route")
edge_stream_recoveries = _count("edge_stream_recoveries", "Streams moved to another worker")

# license
license_leases = _level("license_leases", "Leases held")
license_refusals = _count("license_refusals", "Requests refused by reason")
license_usage_events = _count("license_usage_events", "Usage events written to the ledger")
license_proxy_grace_period_active = _gauge(
    "license_proxy_grace_period_active", "1 while living on a cached validation"
)

# session
session_open = _level("session_open", "Open sessions")
session_store_errors = _count("session_store_errors", "Redis operations that failed")
