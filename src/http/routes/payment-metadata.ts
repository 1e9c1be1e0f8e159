import { z } from 'zod';
import {
  createPaymentToken,
  MAX_LIVING_TOKENS,
  revokePaymentToken,
  TOKEN_LIFE,
} from '../../customers/payment-tokens.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { TOKEN_PURPOSES } from '../../payments/token.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { amount, customerParams, text, walletCurrency } from '../../views/fields.ts';
import { paymentMetadataResponse, paymentMetadataShape } from '../../views/payment-metadata.ts';
import { merchantRoute, type Route } from '../kit/route.ts';

const tag = 'Payments';
const DAYS_ERROR = 'wants a whole number of days from 1 to 3660';
const days = z
  .int({ error: DAYS_ERROR })
  .min(1, { error: DAYS_ERROR })
  .max(3660, { error: DAYS_ERROR })
  .nullable()
  .optional();
const SPAN_ERROR = `wants a whole number of seconds from ${TOKEN_LIFE.least} to ${TOKEN_LIFE.most}`;

const create = merchantRoute({
  method: 'post',
  path: '/customers/{customer_id}/payment-metadata',
  scope: 'write',
  tag,
  summary: 'Make metadata that says what a payment is for',
  description:
    'Answers a token to put on one payment of the customer, wherever it is made: in the browser too, since whoever carries it cannot change what it says. It is obeyed whatever `metadata` of the source is, once; a wrong, ended, revoked or foreign one, or one for which less was paid, parks the event as `bad_token`, a second payment as `token_used`. ' +
    `A customer has ${MAX_LIVING_TOKENS} unused ones at a time, at most.`,
  params: customerParams,
  body: z
    .strictObject({
      purpose: z
        .enum(TOKEN_PURPOSES, { error: `wants ${TOKEN_PURPOSES.join(' or ')}` })
        .default('topup')
        .meta({ description: 'What the payment is for; `topup` unless given.' }),
      currency: walletCurrency,
      amount: amount.nullable().optional().meta({
        description: 'What must at least be paid, in minor units: tax and fees may come on top. None: any amount.',
      }),
      credit_amount: amount.nullable().optional().meta({
        description:
          'What a top-up grants, in minor units, if that is not what was paid. It wants `amount`, and is at most `MAX_BONUS_RATIO` times that.',
      }),
      bonus_amount: amount.nullable().optional().meta({
        description: 'Instead of `credit_amount`: what a top-up grants on top of what was paid. It wants `amount` too.',
      }),
      bonus_expires_in_days: days.meta({
        description:
          'For how many days of 24 hours what is granted beyond what was paid can be spent; none: it does not end.',
      }),
      expires_in_days: days.meta({
        description: 'The same of what was paid, if `PAID_EXPIRY_MIN_DAYS` of the service allows that.',
      }),
      expires_in_seconds: z
        .int({ error: SPAN_ERROR })
        .min(TOKEN_LIFE.least, { error: SPAN_ERROR })
        .max(TOKEN_LIFE.most, { error: SPAN_ERROR })
        .default(TOKEN_LIFE.usual)
        .meta({ description: 'By when the payment must be tried; a day unless given.' }),
    })
    .meta({ examples: [{ purpose: 'topup', currency: EXAMPLE.currency, amount: 5000, credit_amount: 6000 }] }),
  response: { description: 'What to put on the payment. It is shown this once.', schema: paymentMetadataShape },
  errors: ['CUSTOMER_NOT_FOUND', 'UNSUPPORTED_CURRENCY', 'PAID_CREDIT_CANNOT_EXPIRE', 'CONFLICT'],
  async handle({ services: { pool, settings, config, clock }, merchantId, params, body }) {
    const { currencies, lotRule } = settings;
    const { paidExpiryMinDays } = lotRule;
    const rules = { currencies, maxBonusRatio: config.MAX_BONUS_RATIO, paidExpiryMinDays, now: clock.now() };
    const terms = {
      customerId: params.customer_id,
      purpose: body.purpose,
      currency: body.currency,
      amount: body.amount ?? null,
      creditAmount: body.credit_amount ?? null,
      bonusAmount: body.bonus_amount ?? null,
      bonusDays: body.bonus_expires_in_days ?? null,
      paidDays: body.expires_in_days ?? null,
      expiresInSeconds: body.expires_in_seconds,
    };
    return paymentMetadataResponse(
      await transaction(pool, (tx) => createPaymentToken(tx, { merchantId, ...terms }, rules)),
    );
  },
});

const revoke = merchantRoute({
  method: 'delete',
  path: '/customers/{customer_id}/payment-metadata/{wallet_token}',
  scope: 'write',
  tag,
  summary: 'Revoke a token',
  description:
    'At once, also for payments under way: whoever pays with it is not credited, but parked as `bad_token`. What was credited under it stays.',
  params: customerParams.extend({ wallet_token: text(300, 1) }),
  response: { status: 204, description: 'It is revoked.', schema: z.null() },
  errors: ['CUSTOMER_NOT_FOUND', 'NOT_FOUND'],
  async handle({ services: { pool, clock }, merchantId, params }) {
    const { customer_id: customerId, wallet_token: token } = params;
    await revokePaymentToken(autocommit(pool), { merchantId, customerId, token }, clock.now());
    return null;
  },
});

export const paymentMetadataRoutes: readonly Route[] = [create, revoke];
