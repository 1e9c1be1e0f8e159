import { z } from 'zod';
import { reassignPayment } from '../../customers/reassign.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { idParams, itemsOf, text } from '../../views/fields.ts';
import { describePayment, paymentShape } from '../../views/payment.ts';
import { refuseDodoSdk } from '../kit/dodo.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const retrieve = merchantRoute({
  method: 'get',
  path: '/payments/{payment_id}',
  scope: 'read',
  takesTurns: false,
  tag: 'Payments',
  summary: "The life of a provider's payment",
  description:
    "By the provider's own id: what was paid, its refunds and disputes, every ledger entry it caused, and every event about it. Dodo's SDKs are answered 404 `NOT_SERVED_HERE`, since they would read fields that are not there.",
  params: idParams('payment_id'),
  response: { description: 'One item for each source that knows a payment of this id.', schema: itemsOf(paymentShape) },
  errors: ['NOT_SERVED_HERE', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params, headers }) {
    refuseDodoSdk(headers, 'the life of a payment at Chokin');
    return readers.read(merchantId, async (db) => ({
      items: await describePayment(db, merchantId, params.payment_id),
    }));
  },
});

const reassign = merchantRoute({
  method: 'post',
  path: '/payments/{payment_id}/reassign',
  scope: 'write',
  tag: 'Payments',
  summary: 'Give a payment to another customer',
  description:
    'Whose it was gives back what the payment left in the wallet, the other customer gets it, and what the provider tells of it from now on is posted there. Asked again, it changes nothing, so it needs no `Idempotency-Key`; with `from_customer_id` that holds even if the payment was given to a third customer meanwhile. Links stay: see `/customers/{customer_id}/links`. A payment is given on 100 times at most (409 `CONFLICT`). 429 or 503 `QUERY_TOO_SLOW` may come after the payment was moved, since its life is read last: ask again.',
  params: idParams('payment_id'),
  body: z
    .strictObject({
      customer_id: text(300, 1).meta({ description: 'Whose it is from now on.' }),
      from_customer_id: text(300, 1)
        .nullish()
        .meta({ description: "Whose it is so far. If it is somebody else's by now, the answer is 409 `CONFLICT`." }),
      reason: text(500, 1).meta({ description: 'Both entries say it.' }),
      source_id: text(200, 1)
        .nullish()
        .meta({ description: 'Wanted where two of your sources know a payment of this id.' }),
      force: z
        .boolean({ error: 'wants true or false' })
        .default(false)
        .meta({ description: 'True: a wallet that has spent the money goes into debt, instead of a refusal.' }),
    })
    .meta({ examples: [{ customer_id: EXAMPLE.customerId, reason: 'Paid with the wrong account' }] }),
  response: {
    description: 'The payment as it is now, at each source that knows its id.',
    schema: itemsOf(paymentShape),
  },
  errors: [
    'CUSTOMER_NOT_FOUND',
    'CONFLICT',
    'INSUFFICIENT_WALLET_FUNDS',
    'BALANCE_LIMIT_EXCEEDED',
    'UNSUPPORTED_CURRENCY',
    'QUERY_TOO_SLOW',
  ],
  async handle({ services, merchantId, params, body }) {
    await reassignPayment(services, {
      merchantId,
      paymentId: params.payment_id,
      sourceId: body.source_id ?? null,
      customerId: body.customer_id,
      fromCustomerId: body.from_customer_id ?? null,
      reason: body.reason,
      force: body.force,
      actor: 'api',
    });
    // Read like any other life of a payment: nothing that grows with a payment may hold the connections of postings.
    return services.readers.read(merchantId, async (db) => ({
      items: await describePayment(db, merchantId, params.payment_id),
    }));
  },
});

export const paymentRoutes: readonly Route[] = [retrieve, reassign];
