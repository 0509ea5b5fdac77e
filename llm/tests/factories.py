"""Providers and models for tests."""

import factory

from accounts.tests.factories import WorkspaceFactory
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider


class WorkspaceRowFactory(factory.django.DjangoModelFactory):
    """Saves the row itself: the manager of scoped rows creates nothing without a workspace."""

    class Meta:
        abstract = True

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        row = model_class(*args, **kwargs)
        row.save()
        return row


class ProviderFactory(WorkspaceRowFactory):
    class Meta:
        model = Provider

    workspace = factory.SubFactory(WorkspaceFactory)
    name = factory.Sequence(lambda n: f"Provider {n}")
    slug = factory.Sequence(lambda n: f"provider-{n}")
    type = ProviderType.OPENAI


class ModelFactory(WorkspaceRowFactory):
    class Meta:
        model = Model

    provider = factory.SubFactory(ProviderFactory)
    workspace = factory.SelfAttribute("provider.workspace")
    name = factory.Sequence(lambda n: f"Model {n}")
    slug = factory.Sequence(lambda n: f"model-{n}")
    kind = ModelKind.CHAT
    identifier = "ok"


class LocalModelFactory(ModelFactory):
    """The embedding model that runs here."""

    provider = factory.SubFactory(ProviderFactory, type=ProviderType.LOCAL)
    kind = ModelKind.EMBEDDING
    identifier = "all-minilm-l6-v2"
    dimensions = 384
    max_input_tokens = 256
