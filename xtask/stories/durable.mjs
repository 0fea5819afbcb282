// A durable payment by the official SDK for Node. Arguments: the folder that holds node_modules, the port of the
// dependency, what to do, the order. The words are those of durable.py.
import { createRequire } from 'node:module';

const [folder, port, what, order] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const module = require('stripe');
const Stripe = module.default ?? module;
const client = new Stripe('sk_test_of_the_application', {
  host: '127.0.0.1', port: Number(port), protocol: 'http', telemetry: false,
  maxNetworkRetries: what === 'pay-once' ? 0 : 10,
});
try {
  const intent = await client.paymentIntents.create(
    { amount: 1200, currency: 'usd', payment_method: 'pm_card_visa', confirm: true, metadata: { order } },
    { idempotencyKey: order },
  );
  if (what === 'pay-and-die') process.kill(process.pid, 'SIGKILL');
  console.log(JSON.stringify({ id: intent.id, status: intent.status, headers: intent.lastResponse.headers }));
} catch (error) {
  const { statusCode: status, code, headers } = error;
  console.log(JSON.stringify({ error: error.constructor.name, status, code, headers }));
}
// The SDK does not read an answer that it repeats, and Node keeps that connection, and the program, until the SDK's timeout.
process.exit();
