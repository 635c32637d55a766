"""A customer's orders are with the customer; products are everywhere."""

from django.db import models


class Customer(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=100, db_index=True)
    email = models.EmailField(default="")

    class Meta:
        indexes = [models.Index(fields=["name", "email"], name="customer_both")]


class Product(models.Model):
    code = models.CharField(max_length=20, primary_key=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)


class Note(models.Model):
    """Local: it has a key that counts."""
    text = models.TextField()
