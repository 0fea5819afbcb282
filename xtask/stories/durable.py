# A durable payment by the official SDK for Python. Arguments: the base address, what to do, the order.
# `pay` leaves repeats to the SDK. `pay-once` forbids them. `pay-and-die` ends before it could settle.
# Prints what the program knows in the end.
import json
import os
import sys

import stripe

base, what, order = sys.argv[1:]
client = stripe.StripeClient(
    "sk_test_of_the_application", base_addresses={"api": base}, max_network_retries=0 if what == "pay-once" else 10
)
try:
    intent = client.v1.payment_intents.create(
        {
            "amount": 1200,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"order": order},
        },
        {"idempotency_key": order},
    )
except stripe.StripeError as error:
    print(json.dumps({"error": type(error).__name__, "status": error.http_status, "code": error.code, "headers": dict(error.headers or {})}))
    sys.exit()
if what == "pay-and-die":
    os._exit(9)
print(json.dumps({"id": intent.id, "status": intent.status, "headers": dict(intent.last_response.headers)}))
