"""Schemas of JSON columns."""

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from knowledge.choices import FieldType
from plugins.contracts import ChunkingProfile


class Chunking(BaseModel):
    """How documents of a source are cut; sizes in tokens of its embedding model."""

    model_config = ConfigDict(extra="forbid")

    chunker: str = "structure"
    max_tokens: int = Field(200, ge=50, le=2000)
    overlap_tokens: int = Field(20, ge=0, le=500)

    def profile(self) -> ChunkingProfile:
        return ChunkingProfile(self.chunker, self.max_tokens, self.overlap_tokens)


class FilterField(BaseModel):
    """A metadata field that searches may filter by."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    type: FieldType = FieldType.TEXT


class FilterFields(RootModel[list[FilterField]]):
    root: list[FilterField] = Field(default_factory=list, max_length=50)

    @field_validator("root")
    @classmethod
    def names_are_unique(cls, fields: list[FilterField]) -> list[FilterField]:
        if len({field.name for field in fields}) != len(fields):
            raise ValueError("Two fields have the same name.")
        return fields


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: without NUL and halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
