import type { ErrorCode } from '../../views/error-status.ts';
import { EXAMPLE, EXAMPLE_ENTRY, EXAMPLE_HOLD, EXAMPLE_LOT, EXAMPLE_SCHEDULED_ENTRY } from '../../views/examples.ts';
import { CHECKOUT_ERRORS } from './checkout-errors.ts';
import type { Route } from './route.ts';
import { TOP_UP_ERRORS } from './top-up-errors.ts';
import { type ErrorGuide, WALLET_ERRORS } from './wallet-error-guide.ts';

/** For every error code its cause, its cure and a sample. A test compares it with `docs/api.md`. */
export const ERROR_GUIDE: Readonly<Record<ErrorCode, ErrorGuide>> = {
  ...WALLET_ERRORS,
  INVALID_QUERY_PARAMS: {
    cause: 'a query parameter is unknown, repeated or out of its range',
    cure: '`message` names the parameter and what it wants',
    sample: { message: 'page_size: wants a whole number from 1 to 100.' },
  },
  INSUFFICIENT_WALLET_FUNDS: {
    cause: 'a debit or a hold is larger than what is available: the balance without what is held; nothing was written',
    cure: 'top up, or take at most `available`; `shortfall` is what has to be credited first',
    sample: {
      message:
        'Insufficient balance: 800 minor units of USD are available, 1250 are required. What holds set aside is not available.',
      available: 800,
      required: 1250,
      shortfall: 450,
    },
  },
  BALANCE_LIMIT_EXCEEDED: {
    cause: 'a balance would leave the range of whole numbers that every JSON reader keeps (±9,007,199,254,740,991)',
    cure: 'look at the amount: it is in minor units',
    sample: { message: 'The balance would pass 9007199254740991 minor units, the most a wallet can hold.' },
  },
  HOLD_AMOUNT_EXCEEDED: {
    cause: 'a capture is larger than what is left of the hold; the hold is as it was',
    cure: 'capture at most `remaining`, or say with `beyond` that more may be taken',
    sample: {
      message: 'Of the hold, 500 minor units are left, 550 are required.',
      remaining: 500,
      required: 550,
    },
  },
  HOLD_LIMIT_EXCEEDED: {
    cause: 'the wallet has as many open holds as it may have',
    cure: 'capture or release some, or give them less time',
    sample: {
      message: 'The wallet has 1000 open holds, which is the most. Capture or release some first.',
      limit: 1000,
    },
  },
  LOT_AMOUNT_EXCEEDED: {
    cause: 'more is to be voided than is left of the lot; the lot is as it was',
    cure: 'void at most `remaining`, or leave `amount` out for all of it',
    sample: { message: 'Of the lot, 500 are left in minor units, 550 are required.', remaining: 500, required: 550 },
  },
  LOT_LIMIT_EXCEEDED: {
    cause: 'the wallet has as many open lots as the API gives it',
    cure: 'void some, or give credit without terms, which joins the base',
    sample: {
      message: 'The wallet has 100 open lots, which is the most. Void some, or give credit without terms.',
      limit: 100,
    },
  },
  INVALID_IDEMPOTENCY_KEY: {
    cause: 'the header `Idempotency-Key` is empty, too long or not ASCII, or body and header name different keys',
    cure: 'send one key, in one of the two places',
    sample: {
      message:
        'Idempotency-Key: the header and idempotency_key in the body differ. Send one of them, or the same in both.',
    },
  },
  UNAUTHORIZED: {
    cause: 'no key, an unknown, revoked or expired one',
    cure: '`Authorization: Bearer <key>`; `npx chokin keys create --name mine --scopes read,write` makes one',
    sample: {
      message:
        'No API key was sent. Send one as "Authorization: Bearer <key>"; "npx chokin keys create --name mine --scopes read,write" makes one.',
    },
  },
  INVALID_SIGNATURE: {
    cause:
      "a webhook is not signed by the source's secret, or its time is off by more than the provider allows; nothing was stored",
    cure: "compare the secret with the provider's dashboard; see the runbook",
    sample: { message: "The signature is not valid. The service's log says why." },
  },
  FORBIDDEN: {
    cause: 'the key lacks the scope, or the merchant is suspended',
    cure: 'use a key with the scope; `npx chokin merchants resume`',
    sample: { message: 'This API key has no write access.' },
  },
  NOT_FOUND: {
    cause: "there is no such thing, or it is another merchant's",
    cure: 'compare the id and the key',
    sample: { message: 'There is no such webhook endpoint.' },
  },
  CUSTOMER_NOT_FOUND: {
    cause: 'there is no such customer of this merchant',
    cure: "`npx chokin customers list` finds ours by e-mail, name or the provider's id",
    sample: { message: `There is no customer ${EXAMPLE.customerId}.` },
  },
  HOLD_NOT_FOUND: {
    cause: 'the customer has no hold of this id',
    cure: 'compare the id and the customer',
    sample: { message: 'The customer has no such hold.' },
  },
  LOT_NOT_FOUND: {
    cause: 'the customer has no lot of this id',
    cure: 'compare the id and the customer',
    sample: { message: 'The customer has no such lot.' },
  },
  ...TOP_UP_ERRORS,
  ...CHECKOUT_ERRORS,
  NOT_SERVED_HERE: {
    cause: 'a route of Dodo Payments that Chokin does not have, or uses for something else',
    cure: 'ask Dodo, or see what is served at `/docs`',
    sample: {
      message:
        "Chokin serves Dodo's customers and wallets; this route is the life of a payment at Chokin, in a form of its own. Ask for it with any other HTTP client.",
    },
  },
  METHOD_NOT_ALLOWED: {
    cause: 'the address knows other methods',
    cure: 'the header `Allow` lists them',
    sample: { message: 'This address answers to POST, GET only.' },
  },
  IDEMPOTENCY_KEY_EXISTS: {
    cause: 'the same request was made before under this key; the answer holds its entry, or its hold',
    cure: 'take it for done',
    sample: {
      message: 'This idempotency key was used before, for the same request: "entry" is what it wrote.',
      entry: EXAMPLE_ENTRY,
    },
  },
  HOLD_NOT_OPEN: {
    cause: 'the hold was captured, released or has expired before; `hold` shows how',
    cure: 'if the work was done after it had expired, capture with `late: "debit"`',
    sample: { message: 'The hold is not open any more: it is captured.', hold: EXAMPLE_HOLD },
  },
  HOLD_OWNED: {
    cause: 'the hold was placed for an open dispute of a payment, whose end ends it',
    cure: 'wait for the dispute, or answer it at the provider',
    sample: {
      message: 'The hold belongs to a dispute, which alone captures, changes and releases it.',
      kind: 'dispute',
    },
  },
  SCHEDULED_ENTRY_NOT_FOUND: {
    cause: 'the id names no scheduled entry of this customer of this merchant',
    cure: 'take it from the answer that scheduled it, or list them',
    sample: { message: 'The customer has no such scheduled entry.' },
  },
  SCHEDULE_NOT_FOUND: {
    cause: 'this wallet never had a grant schedule of this id',
    cure: 'list the grant schedules of the wallet',
    sample: { message: 'The wallet has no such schedule.' },
  },
  SCHEDULED_ENTRY_NOT_OPEN: {
    cause: 'a scheduled entry that was posted or skipped cannot be canceled',
    cure: '`scheduled_entry` says what became of it; correct a posted one by another entry',
    sample: {
      message: 'The entry does not wait for its time any more: it is posted.',
      scheduled_entry: EXAMPLE_SCHEDULED_ENTRY,
    },
  },
  LOT_NOT_OPEN: {
    cause: 'all of the lot was spent, voided or taken back, or it has ended; `lot` shows how',
    cure: 'give new credit instead',
    sample: { message: 'Nothing is left of the lot: it is voided.', lot: EXAMPLE_LOT },
  },
  CONFLICT: {
    cause:
      'it contradicts how things are: an endpoint is disabled, an id is taken, a recovery is under way, a payment was given on 100 times',
    cure: '`message` says what to change first',
    sample: { message: 'The endpoint is disabled. Enable it first.' },
  },
  ACCOUNT_OF_ANOTHER_SOURCE: {
    cause: 'another source has this webhook secret, API key or account of the provider',
    cure: 'use that source; to replace it, remove its secret or account first',
    sample: {
      message: `The source ${EXAMPLE.sourceId} has this account, secret or key already. Two sources of one account would credit its payments twice.`,
      source_id: EXAMPLE.sourceId,
    },
  },
  EVENT_BODY_REMOVED: {
    cause:
      "the event's body was taken away: it is older than `RETENTION_EVENT_BODY_DAYS`, or its customer was anonymised",
    cure: 'what it told is kept and counts, unless it could not be read; if it has to count otherwise, correct the wallet by hand',
    sample: {
      message: `The body of this event was taken away at ${EXAMPLE.since}, so it cannot be replayed. What it told is kept, and counts as before.`,
    },
  },
  BODY_TOO_LARGE: {
    cause: 'the body is larger than the route takes, or comes in too many small pieces',
    cure: 'split it; `message` names the limit in bytes',
    sample: { message: 'The body wants 102400 bytes or fewer.' },
  },
  UNSUPPORTED_MEDIA_TYPE: {
    cause: 'the body is compressed, or not JSON in UTF-8',
    cure: 'send `Content-Type: application/json`',
    sample: { message: 'Content-Type: wants application/json in UTF-8.' },
  },
  INVALID_REQUEST_BODY: {
    cause: 'a field is missing, unknown or not what it has to be',
    cure: '`message` names the field and what it wants',
    sample: { message: 'email: wants an e-mail address such as ada@example.com.' },
  },
  UNSUPPORTED_CURRENCY: {
    cause: 'there are no wallets in this currency',
    cure: 'add it to `WALLET_CURRENCIES`, or use one that is there',
    sample: { message: 'There are no wallets in EUR. Supported: USD, INR.' },
  },
  MAXIMUM_KEYS_REACHED: {
    cause: 'metadata has more keys than an entry takes',
    cure: 'send fewer',
    sample: { message: 'metadata: wants 50 pairs or fewer.' },
  },
  IDEMPOTENCY_KEY_REUSED: {
    cause: 'the key was used for another request',
    cure: 'make a key for each thing that happened',
    sample: {
      message: 'This idempotency key was used before with other input. Use a new key for a new request.',
    },
  },
  EXPIRY_IN_THE_PAST: {
    cause: 'a lot is to end at a time that is past',
    cure: 'name a time to come, or void it',
    sample: { message: 'expires_at: wants a time to come.' },
  },
  EFFECTIVE_AT_OUT_OF_RANGE: {
    cause: 'an entry is to be dated to a time to come, or back by more than 90 days',
    cure: 'leave `effective_at` out, and say in `metadata` what it belongs to',
    sample: { message: 'effective_at: wants a time that is not to come, 90 days back at most.' },
  },
  PAID_CREDIT_CANNOT_EXPIRE: {
    cause: 'credit of the kind `paid` or `refund` is to end, or to end sooner',
    cure: 'leave its end out; the operator may allow a late one by `PAID_EXPIRY_MIN_DAYS`',
    sample: { message: 'Credit that was paid for, or given back for it, does not end.' },
  },
  TOO_MANY_REQUESTS: {
    cause:
      'too much work of this key in a minute, too much of this merchant waiting to be written or read, or wrong keys or calls of the documentation from this address',
    cure: 'wait for `Retry-After` seconds',
    sample: { message: 'Too many wrong keys came from this address. Try again after the time in Retry-After.' },
  },
  INTERNAL_SERVER_ERROR: {
    cause: 'a mistake in Chokin; nothing is half done',
    cure: 'repeat it under the same idempotency key; the log has the cause',
    sample: { message: 'Something went wrong on our side.' },
  },
  NOT_IMPLEMENTED: {
    cause:
      "the part that it needs is not there: the portal without Svix's cloud, stored sources without `ENCRYPTION_KEY`, a provider whose payments cannot be listed or whose events nobody else can sign",
    cure: '`message` says what to use instead',
    sample: { message: 'The payments of adyen cannot be listed by its API.' },
  },
  HOLDS_NOT_YET: {
    cause:
      'the service was upgraded from a release without holds, and it was not said yet that the last process of that one has ended',
    cure: 'the operator runs `npm run migrate -- --close-release`; without it, holds are placed from a week after the migration',
    sample: {
      message:
        'No hold is placed while a process of the release before may still run, since that would spend what is held.',
    },
  },
  LOTS_NOT_YET: {
    cause:
      'the service was upgraded from a release without lots, and it was not said yet that the last process of that one has ended',
    cure: 'the operator runs `npm run migrate -- --close-release`; without it, lots are opened from a week after the migration',
    sample: {
      message:
        'No credit with terms is given while a process of the release before may still run, since that would spend it as any other.',
    },
  },
  QUERY_TOO_SLOW: {
    cause: 'a search or a list took longer than 5 seconds, and was ended',
    cure: 'ask for less: a narrower filter (whole address, longer part of the name, a range of time), or a smaller page',
    sample: {
      message: 'This search or list was ended after 5 seconds. Ask for less: a narrower filter, or a smaller page.',
    },
  },
  SERVICE_UNAVAILABLE: {
    cause: 'the database or Svix cannot be used now, or too many bodies are under way',
    cure: 'repeat it later under the same idempotency key',
    sample: {
      message: 'The service is not available right now. Try again shortly, with the same idempotency key.',
    },
  },
};

/** The error codes of a route: those that it declares, and those that follow from its kind. */
export function errorCodesOf(route: Route): ReadonlySet<ErrorCode> {
  const codes = new Set<ErrorCode>(route.errors);
  if (route.scope !== 'public') for (const code of ['UNAUTHORIZED', 'TOO_MANY_REQUESTS'] as const) codes.add(code);
  if (route.scope === 'read' || route.scope === 'write') codes.add('FORBIDDEN');
  if (route.params !== null) codes.add('NOT_FOUND');
  codes.add('INVALID_QUERY_PARAMS');
  if (route.body !== null) for (const code of ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const) codes.add(code);
  if (route.body?.kind === 'json') codes.add('INVALID_REQUEST_BODY');
  codes.add('INTERNAL_SERVER_ERROR');
  codes.add('SERVICE_UNAVAILABLE');
  return codes;
}
