"""What Prometheus counts in the processes themselves. What rows tell is counted when somebody asks.

With PROMETHEUS_MULTIPROC_DIR, which the supervisor sets, the figures of all processes are added up.
"""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("magnet_http_requests", "Requests by route and status.", ["method", "route", "status"])
REQUEST_DURATION = Histogram(
    "magnet_http_request_seconds",
    "Seconds until an answer is there, or a stream begins.",
    ["method", "route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RUNS = Counter("magnet_runs", "Runs that ended.", ["kind", "status"])
RUN_DURATION = Histogram(
    "magnet_run_seconds", "Seconds from a run's start to its end.", ["kind"], buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 120)
)
TOKENS = Counter("magnet_tokens", "Tokens of model calls.", ["operation", "model", "direction"])
MODEL_CALLS = Counter("magnet_model_calls", "Calls of models.", ["operation", "model", "status"])
JOBS = Counter("magnet_jobs", "Attempts at jobs that ended.", ["kind", "status"])
