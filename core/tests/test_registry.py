import pytest

from core.registry import Registry


def test_what_is_registered_is_found_by_name():
    registry: Registry[int] = Registry("number")

    registry.register("two", 2)
    registry.register("one", 1)

    assert registry.get("one") == 1
    assert registry.names() == ["one", "two"]
    assert list(registry.items()) == [("one", 1), ("two", 2)]
    assert "one" in registry
    assert "three" not in registry


def test_an_unknown_name_lists_the_known_ones():
    registry: Registry[int] = Registry("number")

    with pytest.raises(LookupError, match="No number is called 'x'; known: none"):
        registry.get("x")


def test_a_taken_name_is_refused_and_keeps_its_thing():
    registry: Registry[object] = Registry("thing")
    first = registry.register("a", object())

    with pytest.raises(ValueError, match="already a thing called 'a'"):
        registry.register("a", object())

    assert registry.register("a", first) is first
    assert registry.get("a") is first
