"""Tables as the models say, then spread."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Customer", [("id", models.BigIntegerField(primary_key=True, serialize=False)),
                                            ("name", models.CharField(db_index=True, max_length=100))]),
        migrations.CreateModel("Product", [("code", models.CharField(max_length=20, primary_key=True, serialize=False)),
                                           ("price", models.DecimalField(decimal_places=2, max_digits=10))]),
        migrations.CreateModel("Note", [("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                                        ("text", models.TextField())]),
        migrations.RunSQL("ALTER TABLE shop_customer SHARD BY HASH (id)", "ALTER TABLE shop_customer LOCAL"),
        migrations.RunSQL("ALTER TABLE shop_product REFERENCE", "ALTER TABLE shop_product LOCAL"),
    ]
