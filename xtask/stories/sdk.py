# A customer, a payment and its refund, by the official SDK for Python. Arguments: the base address.
# Prints the ids, so that the story can look them up at the provider.
import json
import sys

import stripe

client = stripe.StripeClient("sk_test_story", base_addresses={"api": sys.argv[1]}, max_network_retries=0)
customer = client.v1.customers.create({"email": "story@example.com"})
method = client.v1.payment_methods.create(
    {"type": "card", "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}}
)
client.v1.payment_methods.attach(method.id, {"customer": customer.id})
intent = client.v1.payment_intents.create(
    {
        "amount": 1200,
        "currency": "usd",
        "customer": customer.id,
        "payment_method": method.id,
        "confirm": True,
    }
)
assert intent.status == "succeeded", intent.status
refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 500})
assert refund.amount == 500, refund.amount
try:
    client.v1.customers.retrieve("cus_missing")
    raise SystemExit("a missing customer was found")
except stripe.InvalidRequestError as error:
    assert error.http_status == 404, error.http_status
    assert error.headers["seawall-attempts"] == "1", error.headers
print(json.dumps({"customer": customer.id, "refund": refund.id}))
