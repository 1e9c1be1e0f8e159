import type { Refusal, RefusalCode } from '../errors.ts';
import { CHECKOUT_WORDS } from './checkout-refusals.ts';
import type { ErrorCode } from './error-status.ts';
import { SCHEDULE_WORDS } from './schedule-refusals.ts';
import { STATUS_WORDS } from './status-refusals.ts';
import { SVIX_WORDS } from './svix-refusals.ts';

/** A refusal as the API shows it. `details` become further fields of the error's body. */
export interface PublicRefusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

type Words<Code extends RefusalCode> = (facts: Refusal<Code>) => PublicRefusal;

const say =
  (code: ErrorCode, message: string): (() => PublicRefusal) =>
  () => ({ code, message });

const WORDS: { readonly [Code in RefusalCode]: Words<Code> } = {
  UNSUPPORTED_CURRENCY: ({ code, currency, supported }) => ({
    code,
    message: `There are no wallets in ${currency}. Supported: ${supported.join(', ')}.`,
  }),
  CUSTOMER_NOT_FOUND: ({ code, customerId }) => ({
    code,
    message: `There is no customer ${customerId.slice(0, 100)}.`,
  }),
  INSUFFICIENT_WALLET_FUNDS: ({ code, currency, available, required, shortfall }) => ({
    code,
    message: `Insufficient balance: ${available} minor units of ${currency} are available, ${required} are required. What holds set aside is not available.`,
    details: { available, required, shortfall },
  }),
  BALANCE_LIMIT_EXCEEDED: ({ code, most }) => ({
    code,
    message: `The balance would pass ${most} minor units, the most a wallet can hold.`,
  }),
  IDEMPOTENCY_KEY_REUSED: say(
    'IDEMPOTENCY_KEY_REUSED',
    'This idempotency key was used before with other input. Use a new key for a new request.',
  ),
  HOLD_NOT_FOUND: say('HOLD_NOT_FOUND', 'The customer has no such hold.'),
  HOLD_NOT_OPEN: ({ code, state }) => ({ code, message: `The hold is not open any more: it is ${state}.` }),
  HOLD_AMOUNT_EXCEEDED: ({ code, remaining, required }) => ({
    code,
    message: `Of the hold, ${remaining} minor units are left, ${required} are required.`,
    details: { remaining, required },
  }),
  HOLD_LIMIT_EXCEEDED: ({ code, limit }) => ({
    code,
    message: `The wallet has ${limit} open holds, which is the most. Capture or release some first.`,
    details: { limit },
  }),
  HOLD_OWNED: ({ code, kind }) => ({
    code,
    message: `The hold belongs to a ${kind}, which alone captures, changes and releases it.`,
    details: { kind },
  }),
  LOT_NOT_FOUND: say('LOT_NOT_FOUND', 'The customer has no such lot.'),
  TOP_UP_RULE_NOT_FOUND: say('TOP_UP_RULE_NOT_FOUND', 'The wallet has no top-up rule.'),
  TOP_UP_NOT_FOUND: say('TOP_UP_NOT_FOUND', 'The wallet has no such top-up.'),
  CONSENT_REQUIRED: say(
    'CONSENT_REQUIRED',
    'consent: is wanted to enable the rule, since the customer is charged without being there.',
  ),
  CHARGING_NOT_CONFIGURED: say(
    'CHARGING_NOT_CONFIGURED',
    'The source cannot charge for top-ups. It has to be an enabled source of Stripe or Dodo (a page to pay at: of Stripe) with a charge key of the same account, which sells top-ups or obeys all metadata.',
  ),
  TOP_UP_IN_FLIGHT: say('TOP_UP_IN_FLIGHT', 'A top-up of this wallet is under way. Wait for what comes of it.'),
  MONTHLY_CAP_REACHED: ({ code, amount, monthlyCap, used }) => ({
    code,
    message: `The top-up rule lets ${monthlyCap} be charged in a month, in minor units, of which ${used} are used: ${amount} is more than is left.`,
    details: { monthly_cap: monthlyCap, used, required: amount },
  }),
  TOP_UP_NOT_OPEN: ({ code, state }) => ({
    code,
    message: `Only a top-up that you were asked for can be said to have failed; this one is ${state}.`,
  }),
  LOT_NOT_OPEN: ({ code, state }) => ({ code, message: `Nothing is left of the lot: it is ${state}.` }),
  LOT_AMOUNT_EXCEEDED: ({ code, remaining, required }) => ({
    code,
    message: `Of the lot, ${remaining} are left in minor units, ${required} are required.`,
    details: { remaining, required },
  }),
  LOT_LIMIT_EXCEEDED: ({ code, limit }) => ({
    code,
    message: `The wallet has ${limit} open lots, which is the most. Void some, or give credit without terms.`,
    details: { limit },
  }),
  LOT_CHANGE_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `The lot was changed ${most} times, which is the most. Void it and give the credit anew.`,
  }),
  EXPIRY_IN_THE_PAST: say('EXPIRY_IN_THE_PAST', 'expires_at: wants a time to come.'),
  PAID_CREDIT_CANNOT_EXPIRE: ({ code, minDays }) => ({
    code,
    message:
      minDays === null
        ? 'Credit that was paid for, or given back for it, does not end.'
        : `Credit that was paid for, or given back for it, ends after ${minDays} days at the soonest.`,
  }),
  ...CHECKOUT_WORDS,
  ...SCHEDULE_WORDS,
  ...STATUS_WORDS,
  NO_SUCH_MERCHANT: say('NOT_FOUND', 'There is no such merchant.'),
  NO_SUCH_API_KEY: say('NOT_FOUND', 'There is no such API key; the list of keys has their ids.'),
  NO_SUCH_SOURCE: say('NOT_FOUND', 'There is no such source.'),
  NO_SUCH_WEBHOOK_SECRET: say('NOT_FOUND', 'There is no such secret.'),
  NO_SUCH_EVENT: say('NOT_FOUND', 'There is no such event; the list of events has their ids.'),
  NO_SUCH_PAYMENT: say(
    'NOT_FOUND',
    'No event about a payment of this id has arrived; the list of payments has those that did.',
  ),
  HANDLED_AMOUNT_UNKNOWN: say(
    'CONFLICT',
    'Part of this payment was handled by hand, and how much was done in all is not known. Say it with "npx chokin events resolve" (0 for an event that only repeats another), then reassign.',
  ),
  PAYMENT_OF_CHECKOUT: say('CONFLICT', "The payment paid a customer's checkout, which cannot be given to another one."),
  PAYMENT_OF_NOBODY: say('CONFLICT', "The payment is nobody's yet. Replay its event with the customer."),
  PAYMENT_OF_ANOTHER: ({ customerId }) => ({
    code: 'CONFLICT',
    message: `The payment is ${customerId}'s now, not that of from_customer_id. Nothing was moved.`,
  }),
  PAYMENT_MOVE_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `The payment was given to another customer ${most} times, and that is the most. Nothing was moved; correct the wallets by hand.`,
  }),
  NO_SUCH_LINK: say('NOT_FOUND', 'The customer is not linked so.'),

  NO_SUCH_PAYMENT_TOKEN: say('NOT_FOUND', 'The customer has no such token.'),
  NO_SUCH_BONUS_RULE: say('NOT_FOUND', 'There is no such bonus rule.'),
  BONUS_RULE_LIMIT: ({ most }) => ({ code: 'CONFLICT', message: `There are ${most} bonus rules; delete one first.` }),
  PAYMENT_TOKEN_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `The customer has ${most} tokens that could still be paid with, which is the most. Revoke those that are not needed, or make them for a shorter time (expires_in_seconds).`,
  }),

  INVALID_FIELD: ({ field, wants }) => ({ code: 'INVALID_REQUEST_BODY', message: `${field}: ${wants}` }),

  MERCHANT_EXISTS: say('CONFLICT', 'There is a merchant of this id already.'),
  API_KEY_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `The merchant has ${most} live keys, which is the most. Revoke one first.`,
  }),
  API_KEY_ROTATED_BEFORE: say('CONFLICT', 'This key was rotated before. Rotate the one that took its place.'),
  API_KEY_OVER: say('CONFLICT', 'This key was revoked or has ended. Create a new one.'),
  MODE_DIFFERS: ({ mode }) => ({
    code: 'CONFLICT',
    message: `The merchant is in ${mode} mode, and so must its sources be.`,
  }),
  SOURCE_OF_ENVIRONMENT: ({ provider }) => ({
    code: 'CONFLICT',
    message: `The environment configures this source. Change its ${provider.toUpperCase()}_… there, and restart.`,
  }),
  SOURCE_DISABLED: say('CONFLICT', 'This source is disabled, so its deliveries are turned away. Enable it first.'),
  SOURCE_ADOPTED: ({ into }) => ({
    code: 'CONFLICT',
    message: `This source was adopted by ${into}, which has its payments. Use that one.`,
  }),
  PAYMENTS_AT_BOTH: ({ paymentIds, isAll }) => ({
    code: 'CONFLICT',
    message: `Both sources have posted entries for ${paymentIds.join(', ')}${isAll ? '' : ' and more'}: such a payment was credited twice. Nothing was moved. The two sources have to stay two; correct what was credited too often by hand.`,
    details: { payment_ids: paymentIds },
  }),
  WEBHOOK_SECRET_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `The source has ${most} webhook secrets already. Remove an old one first.`,
  }),
  ONLY_WEBHOOK_SECRET: say('CONFLICT', 'This is the only secret. Add another first, or disable the source.'),
  ENCRYPTION_KEY_MISSING: say(
    'NOT_IMPLEMENTED',
    'Secrets are stored encrypted only. Set ENCRYPTION_KEY (openssl rand -base64 32) and restart.',
  ),
  ACCOUNT_OF_ANOTHER_SOURCE: ({ code, sourceId }) => ({
    code,
    message: `${sourceId === null ? 'A source of another merchant' : `The source ${sourceId}`} has this account, secret or key already. Two sources of one account would credit its payments twice.`,
    ...(sourceId === null ? {} : { details: { source_id: sourceId } }),
  }),
  PROVIDER_KEY_MISSING: say(
    'CONFLICT',
    'The source has no API key of the provider. Set one; with it, payments can be listed.',
  ),
  PROVIDER_KEY_UNUSABLE: ({ problem }) => ({
    code: 'CONFLICT',
    message: `The source's API key is not usable: ${problem}.`,
  }),
  PROVIDER_NOT_LISTABLE: ({ provider }) => ({
    code: 'NOT_IMPLEMENTED',
    message: `The payments of ${provider} cannot be listed by its API.`,
  }),

  EVENT_NOT_REPLAYABLE: ({ state }) => ({
    code: 'CONFLICT',
    message: `Only a parked, waiting or dismissed event can be replayed; this one is ${state}.`,
  }),
  EVENT_NOT_DISMISSIBLE: ({ state }) => ({
    code: 'CONFLICT',
    message: `Only a parked event can be dismissed; this one is ${state}.`,
  }),
  EVENT_BODY_REMOVED: ({ code, removedAt }) => ({
    code,
    message: `The body of this event was taken away at ${removedAt.toISOString()}, so it cannot be replayed. What it told is kept, and counts as before.`,
  }),
  NOTHING_KEPT_OF_EVENT: ({ removedAt }) => ({
    code: 'EVENT_BODY_REMOVED',
    message: `The body of this event was taken away at ${removedAt.toISOString()}, and it could not be read, so nobody knows which payment a correction belongs to. Correct the wallet by an adjustment, and name the event in its reason.`,
  }),
  EVENT_HANDLED_BY_HAND: say(
    'CONFLICT',
    'This event was handled by hand. Replay it with "reopen": true if it is to post after all; what was handled by hand stays.',
  ),
  SIGNATURE_UNCHECKABLE: say('SERVICE_UNAVAILABLE', 'The signature cannot be checked now. Send the event again.'),
  TEST_EVENT_UNSIGNABLE: say(
    'NOT_IMPLEMENTED',
    "Only PayPal can sign its events. Send one by PayPal's webhook simulator.",
  ),

  ENDPOINT_LIMIT: ({ most }) => ({
    code: 'CONFLICT',
    message: `There are ${most} endpoints already, which is the most.`,
  }),
  ENDPOINT_DISABLED: say('CONFLICT', 'The endpoint is disabled. Enable it first.'),
  ENDPOINT_NOT_SUBSCRIBED: ({ eventType }) => ({
    code: 'CONFLICT',
    message: `The endpoint does not subscribe to ${eventType}. Add it to its event_types first.`,
  }),
  SECRET_ROTATED_TOO_OFTEN: ({ most, freeAt }) => {
    const until = freeAt === null ? '' : ` Rotate again after ${freeAt.toISOString()}.`;
    return {
      code: 'CONFLICT',
      message: `The secret was rotated ${most} times within 24 hours, which is the most, since each old one signs for as long.${until}`,
    };
  },
  PORTAL_NEEDS_SVIX: say(
    'NOT_IMPLEMENTED',
    "The webhook portal is Svix's: set SVIX_TOKEN to have it. Without it, use the webhook-endpoints routes.",
  ),
  PORTAL_NOT_IN_SVIX: say(
    'NOT_IMPLEMENTED',
    'Your Svix server is the open-source one, which has no portal. Use the webhook-endpoints routes instead.',
  ),
  RECOVERY_UNDER_WAY: say('CONFLICT', 'A recovery of this endpoint is under way. Wait until it is finished.'),
  MESSAGE_FORGOTTEN: say('CONFLICT', 'Svix does not keep the content of this message any more.'),
  ...SVIX_WORDS,
};

/** The code, message and details by which the API shows a refusal. */
export function publicRefusal<Code extends RefusalCode>(refusal: Refusal<Code>): PublicRefusal {
  const words: Words<Code> = WORDS[refusal.code];
  return words(refusal);
}
