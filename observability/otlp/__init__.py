"""Traces to an OpenTelemetry collector, off until OTEL_EXPORTER_OTLP_ENDPOINT is set (ADR 13)."""
