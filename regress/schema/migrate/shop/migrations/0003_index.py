"""What Django does without a transaction."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_email")]
    operations = [
        AddIndexConcurrently("Customer", models.Index(fields=["name", "email"], name="customer_both")),
        migrations.RemoveIndex("Customer", "customer_email"),
    ]
