from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    name = "knowledge"
    verbose_name = "Knowledge"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.doctor import DOCTOR_CHECKS
        from core.integrity import INTEGRITY_CHECKS
        from core.schedules import RECURRING
        from core.seeds import SEEDS
        from knowledge import services
        from knowledge.connectors import FilesConnector
        from knowledge.ingestion.chunking import StructureChunker
        from knowledge.integrity import CHECKS
        from knowledge.quota import quota_findings
        from knowledge.recurring import WORK
        from knowledge.seeds import seed_handbook
        from observability.job_kinds import JOB_KINDS, JobKind
        from plugins.registry import PLUGINS

        PLUGINS.connectors.register(FilesConnector())
        PLUGINS.chunkers.register(StructureChunker())
        for name, title in (("build_vector_index", "Build vector index"), ("reweigh_index", "Reweigh words")):
            JOB_KINDS.register(name, JobKind(name, title))
        ingest = JobKind(services.INGEST_JOB, "Ingest document", services.on_job_failed, services.on_job_retried)
        JOB_KINDS.register(services.INGEST_JOB, ingest)
        for name, work in WORK.items():
            RECURRING.register(name, work)
        for name, check in CHECKS.items():
            INTEGRITY_CHECKS.register(name, check)
        SEEDS.register("30-knowledge", seed_handbook)
        DOCTOR_CHECKS.register("50-quotas", quota_findings)
