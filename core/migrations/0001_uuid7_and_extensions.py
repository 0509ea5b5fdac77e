"""The UUIDv7 function that `db_default` uses, and the vector extension.

RFC 9562, method 3: 48 bits of milliseconds, 12 bits of the fraction, 62 random bits.
"""

from django.db import migrations
from pgvector.django import VectorExtension

CREATE = """
CREATE OR REPLACE FUNCTION magnet_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT (
    lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
    || '7' || lpad(to_hex(((extract(epoch FROM clock_timestamp()) * 1000000)::bigint % 1000) * 4096 / 1000), 3, '0')
    || to_hex(8 + floor(random() * 4)::int)
    || substr(replace(gen_random_uuid()::text, '-', ''), 18, 15)
  )::uuid
$$;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        VectorExtension(),
        migrations.RunSQL(CREATE, "DROP FUNCTION IF EXISTS magnet_uuid7()"),
    ]
