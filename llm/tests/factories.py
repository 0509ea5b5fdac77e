"""Providers and models for tests."""

import factory

from accounts.tests.factories import WorkspaceFactory
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider


class ProviderFactory(factory.django.DjangoModelFactory[Provider]):
    class Meta:
        model = Provider

    workspace = factory.SubFactory(WorkspaceFactory)
    name = factory.Sequence(lambda n: f"Provider {n}")
    slug = factory.Sequence(lambda n: f"provider-{n}")
    type = ProviderType.OPENAI


class ModelFactory(factory.django.DjangoModelFactory[Model]):
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
