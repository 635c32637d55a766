#!/usr/bin/python3
"""Django from Debian: models, migrations by hand (schema editor), transactions, annotations, server-side cursors.

    django_app.py PORT DATABASE TABLE
"""

import os
import sys

import django
from django.conf import settings

PORT, DATABASE, TABLE = sys.argv[1:]
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": PORT, "NAME": DATABASE,
                           "USER": "app", "PASSWORD": "secret", "ATOMIC_REQUESTS": False}},
    USE_TZ=True, TIME_ZONE="UTC", INSTALLED_APPS=[], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.db import IntegrityError, connection, models, transaction  # noqa: E402


class Thing(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.TextField(null=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    ok = models.BooleanField(null=True)
    data = models.BinaryField(null=True)
    tags = ArrayField(models.TextField(null=True), null=True)

    class Meta:
        app_label = "shop"
        db_table = TABLE
        managed = False


def main():
    for i in range(1, 21):
        Thing.objects.create(id=i, name=f"thing {i}", price=i, ok=i % 2 == 0, data=bytes([i]), tags=["a", 'q"'])
    assert [Thing.objects.get(id=i).name for i in range(1, 21)] == [f"thing {i}" for i in range(1, 21)]
    assert Thing.objects.count() == 20
    assert Thing.objects.filter(id=7).update(name="seven") == 1
    assert Thing.objects.filter(id__in=[7, 8, 9]).order_by("-id").values_list("id", flat=True)[0] == 9
    assert Thing.objects.aggregate(models.Max("price"))["price__max"] == 20
    try:
        with transaction.atomic():
            Thing.objects.filter(id=1).update(name="gone")
            with transaction.atomic():
                Thing.objects.create(id=2)
    except IntegrityError:
        pass
    assert Thing.objects.get(id=1).name == "thing 1"
    with transaction.atomic():
        thing = Thing.objects.select_for_update().get(id=3)
        thing.name = "locked"
        thing.save()
    assert Thing.objects.get(id=3).name == "locked"
    assert Thing.objects.bulk_create([Thing(id=100)]) and Thing.objects.filter(id=100).exists()
    if os.environ.get("SHARDED") != "1":
        Thing.objects.bulk_create([Thing(id=100 + i, name="bulk") for i in range(1, 50)])
        assert len(list(Thing.objects.order_by("id").iterator(chunk_size=10))) == 70
        assert Thing.objects.update_or_create(id=100, defaults={"name": "there"})[1] is False
    assert Thing.objects.get(id=5).delete()[0] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM " + TABLE + " WHERE id = %s", [7])
        assert cursor.fetchone() == ("seven",)
    connection.close()


main()
