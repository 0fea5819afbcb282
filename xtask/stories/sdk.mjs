// A customer, a payment and its refund, by the official SDK for Node, which takes no base path.
// Arguments: the folder that holds node_modules, and the port. Prints the ids.
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const module = require('stripe');
const Stripe = module.default ?? module;
const client = new Stripe('sk_test_story', {
  host: '127.0.0.1', port: Number(process.argv[3]), protocol: 'http', maxNetworkRetries: 0, telemetry: false,
});
const customer = await client.customers.create({ email: 'story@example.com' });
const method = await client.paymentMethods.create({
  type: 'card', card: { number: '4242424242424242', exp_month: 12, exp_year: 2040, cvc: '123' },
});
await client.paymentMethods.attach(method.id, { customer: customer.id });
const intent = await client.paymentIntents.create({
  amount: 1200, currency: 'usd', customer: customer.id, payment_method: method.id, confirm: true,
});
if (intent.status !== 'succeeded') throw new Error(intent.status);
const refund = await client.refunds.create({ payment_intent: intent.id, amount: 500 });
if (refund.amount !== 500) throw new Error(String(refund.amount));
console.log(JSON.stringify({ customer: customer.id, refund: refund.id }));
