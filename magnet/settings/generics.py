"""Django classes that its type stubs make generic take their brackets at run time too: `ModelAdmin[Document]`."""

from typing import Any

from django.contrib.admin.options import BaseModelAdmin
from django.core.paginator import Paginator
from django.db.models import Field
from django.forms.formsets import BaseFormSet
from django.forms.models import BaseModelForm, ModelChoiceField
from django.views.generic.base import View

CLASSES: tuple[type[Any], ...] = (
    BaseModelAdmin,
    BaseModelForm,
    BaseFormSet,
    Field,
    ModelChoiceField,
    Paginator,
    View,
)


def _itself(cls: type[Any], *_args: Any) -> type[Any]:
    return cls


def allow_brackets() -> None:
    """The brackets say something to the type checker and nothing at run time. Doing it twice changes nothing."""
    for each in CLASSES:
        if "__class_getitem__" not in vars(each):
            each.__class_getitem__ = classmethod(_itself)
