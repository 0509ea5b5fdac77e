"""The key ring and its envelopes."""

import base64

import pytest

from core.crypto import DecryptionFailed, KeyRing, SecretLocation, key_ring, new_key

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
HERE = SecretLocation("llm_provider", "row-1", "api_key")


def test_envelope_opens_at_its_location_and_names_its_key():
    ring = KeyRing.parse([NEW])

    envelope = ring.encrypt("sk-häßlich", HERE)

    assert envelope.startswith("enc1:new:")
    assert "sk-" not in envelope
    assert ring.decrypt(envelope, HERE) == "sk-häßlich"


def test_same_text_gives_another_envelope_each_time():
    ring = KeyRing.parse([NEW])

    assert ring.encrypt("a", HERE) != ring.encrypt("a", HERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        SecretLocation("llm_other", "row-1", "api_key"),
        SecretLocation("llm_provider", "row-2", "api_key"),
        SecretLocation("llm_provider", "row-1", "token"),
        SecretLocation("llm_providerrow-1", "", "api_key"),
    ],
)
def test_envelope_does_not_open_elsewhere(elsewhere):
    ring = KeyRing.parse([NEW])
    envelope = ring.encrypt("secret", HERE)

    with pytest.raises(DecryptionFailed, match="ENCRYPTION_KEYS"):
        ring.decrypt(envelope, elsewhere)


def test_first_key_encrypts_and_all_decrypt():
    envelope = KeyRing.parse([OLD]).encrypt("secret", HERE)
    both = KeyRing.parse([NEW, OLD])

    assert both.decrypt(envelope, HERE) == "secret"
    assert not both.is_current(envelope)
    assert both.is_current(both.encrypt("secret", HERE))


def test_missing_key_is_named():
    envelope = KeyRing.parse([OLD]).encrypt("secret", HERE)

    with pytest.raises(DecryptionFailed) as failure:
        KeyRing.parse([NEW]).decrypt(envelope, HERE)

    assert failure.value.hint == "Put the key old back into ENCRYPTION_KEYS, or enter the secret again."
    assert failure.value.code == "decryption_failed"


def test_other_key_under_the_same_id_is_refused():
    envelope = KeyRing.parse([OLD]).encrypt("secret", HERE)

    with pytest.raises(DecryptionFailed, match="does not open"):
        KeyRing.parse([NEW.replace("new:", "old:")]).decrypt(envelope, HERE)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-8], lambda text: text + "!", lambda text: "enc1:new:", str.lower]
)
def test_damaged_envelope_is_refused(damage):
    ring = KeyRing.parse([NEW])

    with pytest.raises(DecryptionFailed):
        ring.decrypt(damage(ring.encrypt("secret", HERE)), HERE)


@pytest.mark.parametrize(
    "items, complaint",
    [
        ([], "at least one key"),
        (["k1"], "item 1 is not"),
        ([NEW, "k1:AAAA"], "item 2 is not"),
        (["k1:not base64"], "item 1 is not"),
        (["k 1:" + NEW.partition(":")[2]], "item 1 is not"),
        ([NEW, NEW], "the id new stands there twice"),
    ],
)
def test_wrong_ring_is_refused_without_showing_a_key(items, complaint):
    with pytest.raises(ValueError, match="ENCRYPTION_KEYS: ") as error:
        KeyRing.parse(items)

    assert complaint in str(error.value)
    assert "bm5u" not in str(error.value)


def test_ring_does_not_show_its_keys():
    assert "nnn" not in repr(KeyRing.parse([NEW]))


def test_new_keys_are_valid_and_differ():
    ring = KeyRing.parse([new_key(), new_key()])

    assert ring.decrypt(ring.encrypt("secret", HERE), HERE) == "secret"


def test_ring_follows_the_settings(settings):
    settings.ENCRYPTION_KEYS = [OLD]
    assert key_ring().current_id == "old"
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert key_ring().current_id == "new"
