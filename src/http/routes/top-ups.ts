import { z } from 'zod';
import { refuseUnknownCustomer } from '../../customers/store.ts';
import { autocommit, transaction } from '../../db/transaction.ts';
import { MAX_OFFSET } from '../../ledger/history.ts';
import { TOP_UP_STATES } from '../../top-ups/attempt.ts';
import { listTopUps } from '../../top-ups/attempt-store.ts';
import { failTopUp, requestTopUp } from '../../top-ups/manage.ts';
import { openTopUpSession, sessionCharger } from '../../top-ups/open-session.ts';
import { type SessionWish, wantsSession } from '../../top-ups/session.ts';
import { metadataOf } from '../../top-ups/tell.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { amount, itemsOf, pageOf, paging, text, walletParams } from '../../views/fields.ts';
import { requiredKey } from '../../views/hold-requests.ts';
import { EXAMPLE_TOP_UP, topUpResponse, topUpShape } from '../../views/top-up.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { turnAway } from '../kit/turn-away.ts';
import { IDEMPOTENCY_HEADER, keyOfRequest } from './posting.ts';
import { topUpRuleRoutes, topUpWalletOf, wakeTopUps } from './top-up-rules.ts';

const tag = 'Top-ups';
const path = '/customers/{customer_id}/wallets/{currency}';
const listPath = `${path}/top-ups`;
const topUpParams = z.strictObject({ ...walletParams.shape, topup_id: text(300, 1) });

const list = merchantRoute({
  takesTurns: false,
  method: 'get',
  path: listPath,
  scope: 'read',
  tag,
  summary: "List a wallet's top-ups",
  description: 'The newest first.',
  params: walletParams,
  query: z
    .strictObject({
      ...paging,
      status: z
        .enum(TOP_UP_STATES, { error: `wants one of ${TOP_UP_STATES.join(', ')}` })
        .optional()
        .meta({ description: 'Only top-ups of this status.' }),
    })
    .refine((query) => (query.page_number ?? 0) * query.page_size <= MAX_OFFSET, {
      path: ['page_number'],
      error: `reaches beyond ${MAX_OFFSET} top-ups`,
    }),
  response: { description: 'A page of top-ups.', schema: itemsOf(topUpShape), example: { items: [EXAMPLE_TOP_UP] } },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { ledger, readers }, merchantId, params, query, headers }) {
    const key = topUpWalletOf(merchantId, params);
    if ((await ledger.wallets(merchantId, key.customerId)).length === 0) refuseUnknownCustomer(key.customerId);
    const { pageSize, pageNumber } = pageOf(query, headers);
    const page = { state: query.status ?? null, pageSize, offset: query.page_size * pageNumber };
    return { items: (await readers.read(merchantId, (db) => listTopUps(db, key, page))).map(topUpResponse) };
  },
});

const EXAMPLE_MANUAL = {
  ...{ ...EXAMPLE_TOP_UP, origin: 'manual', status: 'requested', source_id: null, payment_id: null },
  payment: {
    metadata: {
      wallet_customer_id: EXAMPLE.customerId,
      wallet_purpose: 'topup',
      wallet_topup_id: EXAMPLE_TOP_UP.topup_id,
    },
  },
};

const LIFE_ERROR = 'wants a whole number from 1860 to 86340';
const address = z.url({ protocol: /^https?$/, error: 'wants an address that begins with https://' }).max(2000);
const sessionFields = z.strictObject({
  source_id: text(100, 1).meta({ description: 'Of Stripe, with a charge key.' }),
  success_url: address.meta({ description: 'Where the customer comes to once he has paid.' }),
  cancel_url: address
    .nullable()
    .default(null)
    .meta({ description: 'Where the way back leads. There is none unless given.' }),
  description: text(250, 1).meta({ description: 'What the customer reads beside the amount.' }),
});
const DEFAULT_LIFE_SECONDS = 3600;

type CreateBody = z.output<typeof createBody>;

const createBody = z
  .strictObject({
    amount: amount.meta({ description: 'What must at least be paid; taxes may come on top.' }),
    idempotency_key: text(255, 1).nullable().optional().meta({ description: 'Wanted, here or in the header.' }),
    session: sessionFields
      .nullable()
      .optional()
      .meta({ description: 'A page of the provider to pay at. Unless given, you make the payment.' }),
    expires_in_seconds: z
      .int({ error: LIFE_ERROR })
      .min(1860, { error: LIFE_ERROR })
      .max(86_340, { error: LIFE_ERROR })
      .optional()
      .meta({ description: `How long the page can be paid at. ${DEFAULT_LIFE_SECONDS} unless given.` }),
  })
  .refine(({ session, expires_in_seconds }) => expires_in_seconds === undefined || (session ?? null) !== null, {
    path: ['expires_in_seconds'],
    error: 'is for a session',
  })
  .meta({ examples: [{ amount: 2000, idempotency_key: 'top-up-2026-01-31' }] });

function wishOf({ session, expires_in_seconds: life }: CreateBody): SessionWish | null {
  if (session === null || session === undefined) return null;
  const { source_id: sourceId, success_url: successUrl, cancel_url: cancelUrl, description } = session;
  return { sourceId, successUrl, cancelUrl, description, expiresInSeconds: life ?? DEFAULT_LIFE_SECONDS };
}

const create = merchantRoute({
  takesTurns: false,
  method: 'post',
  path: listPath,
  scope: 'write',
  tag,
  summary: 'Begin a top-up that the customer pays himself',
  description:
    'It charges nobody. Put the metadata of the answer on the payment that you make, or send the customer to `payment.url` where you asked for a `session`, and what is paid is credited as this top-up; a rule that was suspended for declines charges again then. Where the provider could not be reached, the same request asks for the same page once more, and is answered 200.',
  params: walletParams,
  headers: IDEMPOTENCY_HEADER,
  body: createBody,
  response: {
    description: 'The top-up, and what its payment has to carry.',
    schema: z
      .strictObject({
        ...topUpShape.shape,
        payment: z.strictObject({
          metadata: z.record(z.string(), z.string()),
          url: z.string().optional().meta({ description: 'The page to pay at, while it can be paid.' }),
        }),
      })
      .meta({ id: 'ManualTopUp' }),
    example: EXAMPLE_MANUAL,
  },
  errors: [
    'CUSTOMER_NOT_FOUND',
    'UNSUPPORTED_CURRENCY',
    'TOP_UP_IN_FLIGHT',
    'IDEMPOTENCY_KEY_EXISTS',
    'IDEMPOTENCY_KEY_REUSED',
    'INVALID_IDEMPOTENCY_KEY',
    'CHARGING_NOT_CONFIGURED',
    'WALLET_CLOSED',
    'PROVIDER_UNAVAILABLE',
  ],
  async handle({ services, merchantId, params, body, headers }) {
    const { pool, clock, settings, turns, sources, connectCharger } = services;
    const idempotencyKey = requiredKey(keyOfRequest(body.idempotency_key, headers));
    const session = wishOf(body);
    const request = { ...topUpWalletOf(merchantId, params), amount: body.amount, idempotencyKey, session };
    const moment = { currencies: settings.currencies, now: clock.now() };
    const inTurn = <T>(work: () => Promise<T>): Promise<T> => turns.take(merchantId, work);
    const source =
      session === null ? null : await inTurn(() => sources.find(autocommit(pool), merchantId, session.sourceId));
    // Whoever waits for a provider keeps no turn meanwhile.
    const charger = session === null ? null : await sessionCharger(connectCharger, source);
    const begun = await inTurn(() => transaction(pool, (tx) => requestTopUp(tx, request, moment)));
    const { isRepeated } = begun;
    const isWanted = charger !== null && wantsSession(begun.topUp);
    const topUp = isWanted ? await openTopUpSession({ pool, clock }, begun.topUp, charger) : begun.topUp;
    const url = topUp.session?.url ?? null;
    const payment = { metadata: metadataOf(topUp), ...(url === null ? {} : { url }) };
    const shown = { ...topUpResponse(topUp), payment };
    if (isRepeated) {
      const message = 'This idempotency key was used before, for the same top-up: "topup" is it.';
      return turnAway('IDEMPOTENCY_KEY_EXISTS', message, { topup: shown });
    }
    return shown;
  },
});

const fail = merchantRoute({
  method: 'post',
  path: `${listPath}/{topup_id}/fail`,
  scope: 'write',
  tag,
  summary: 'Say that a payment which you were asked for failed',
  description:
    'For top-ups of status `requested`. It counts as a decline: the next is asked for after an hour, then after six, and the third in a row suspends the rule; `hard` suspends it at once.',
  params: topUpParams,
  body: z
    .strictObject({
      decline_code: text(100, 1).nullable().default(null).meta({ description: "Your provider's word." }),
      hard: z.boolean({ error: 'wants true or false' }).default(false).meta({
        description: 'True if to try again does not help until the customer does something.',
      }),
    })
    .meta({ examples: [{ decline_code: 'insufficient_funds' }] }),
  response: {
    description: 'The top-up.',
    schema: topUpShape,
    example: { ...EXAMPLE_TOP_UP, status: 'declined', reason: 'declined', decline_code: 'insufficient_funds' },
  },
  errors: ['TOP_UP_NOT_FOUND', 'TOP_UP_NOT_OPEN'],
  async handle({ services, merchantId, params, body }) {
    const { pool, clock } = services;
    const key = { ...topUpWalletOf(merchantId, params), topUpId: params.topup_id };
    const failure = { declineCode: body.decline_code, isHard: body.hard, now: clock.now() };
    const topUp = await transaction(pool, (tx) => failTopUp(tx, key, failure));
    wakeTopUps(services);
    return topUpResponse(topUp);
  },
});

export const topUpRoutes: readonly Route[] = [...topUpRuleRoutes, list, create, fail];
