"""A column, and rows that are changed in the same transaction."""

from django.db import migrations, models


def fill(apps, _):
    customer, product, note = (apps.get_model("shop", name) for name in ("Customer", "Product", "Note"))
    for i in range(1, 31):
        customer.objects.create(id=i, name=f"customer {i}")
    product.objects.create(code="a", price=5)
    note.objects.create(text="first")
    for one in customer.objects.order_by("id")[:10]:
        one.email = f"{one.id}@example.org"
        one.save()
    assert customer.objects.exclude(email="").count() == 10


def empty(apps, _):
    for name in ("Customer", "Product", "Note"):
        apps.get_model("shop", name).objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("Customer", "email", models.EmailField(default="", max_length=254)),
        migrations.RunPython(fill, empty),
        migrations.AddIndex("Customer", models.Index(fields=["email"], name="customer_email")),
    ]
