"""Requests made from the OpenAPI description by schemathesis, right and wrong ones, against a running edge."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

# These compare what was sent with what ought to be accepted; clients of five vendors write values in many ways, and
# what one of them means, another would call wrong.
_OTHER_CHECKS = (
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "use_after_free",
    "ensure_resource_availability",
)
_SERVER_ERROR = 500
_MAX_SHOWN = 20


@dataclass
class RestReport:
    """What came of it."""

    cases: int = 0
    server_errors: int = 0
    violations: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)  # the first of each kind

    @property
    def clean(self) -> bool:
        return not (self.server_errors or self.violations or self.failures)

    def plus(self, other: "RestReport") -> "RestReport":
        """Both together."""
        return RestReport(
            self.cases + other.cases,
            self.server_errors + other.server_errors,
            self.violations + other.violations,
            self.statuses + other.statuses,
            self.operations | other.operations,
            {**self.failures, **other.failures},
        )


def fuzz_rest(
    url: str,
    *,
    key: str,
    examples: int,
    seed: int,
    coverage: bool = False,
    only: Callable[[str, str], bool] = lambda method, path: True,
) -> RestReport:
    """Sends requests and checks every answer: no 5xx, and status, type, headers and body as described.

    Args:
        url: of the edge.
        key: a good key.
        examples: requests per operation.
        seed: the same requests for the same seed.
        coverage: also send every boundary of every parameter, some hundred requests per operation.
        only: which operations, by method and path.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Token {key}"},
            "generation": {
                "max-examples": examples,
                "database": "none",
                "deterministic": True,
                "with-security-parameters": False,
            },
            "checks": {name: {"enabled": False} for name in _OTHER_CHECKS},
            "phases": {
                "examples": {"enabled": False},
                "stateful": {"enabled": False},
                "coverage": {"enabled": coverage},
            },
            "continue-on-failure": True,
            "request-timeout": 20,
        }
    )
    described = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    schema = described.include(lambda context: only(context.operation.method.upper(), context.operation.path))
    report = RestReport()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            _count(report, event)
        elif isinstance(event, NonFatalError):
            report.failures.setdefault(
                f"{event.label}: {type(event.value).__name__}", str(event.value)[:2_000]
            )
        elif isinstance(event, FatalError):
            raise event.exception
    return report


def _count(report: RestReport, event: ScenarioFinished) -> None:
    recorder = event.recorder
    report.operations.add(str(recorder.label))
    for case_id, interaction in recorder.interactions.items():
        report.cases += 1
        status = 0 if interaction.response is None else interaction.response.status_code
        report.statuses[status] += 1
        report.server_errors += status == 0 or status >= _SERVER_ERROR
        for check in recorder.checks.get(case_id, []):
            if check.failure_info is not None:
                report.violations += 1
                title = f"{recorder.label}: {check.name}: {check.failure_info.failure.title}"
                if len(report.failures) < _MAX_SHOWN:
                    command = check.failure_info.code_sample
                    told = f"{check.failure_info.failure.message}\n{command}"
                    report.failures.setdefault(title, told[:1_500])
