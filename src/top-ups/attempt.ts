import type { ChargeAnswer } from '../charging/charger.ts';

/**
 * One attempt to fill a wallet up, and the closed list of what may become of it. Money is credited by the payment's verified event
 * alone: what the provider's API answers only says whether another attempt may be made.
 */
export const TOP_UP_STATES = [
  'requested',
  'charging',
  'unknown',
  'charged',
  'processing',
  'succeeded',
  'declined',
  'failed',
  'expired',
] as const;

export type TopUpState = (typeof TOP_UP_STATES)[number];

/** While an attempt is in one of these, no other one is begun. The index of `topup` names the same. */
export const IN_FLIGHT = ['requested', 'charging', 'unknown', 'charged', 'processing'] as const satisfies TopUpState[];

export function isInFlight(state: TopUpState): boolean {
  return IN_FLIGHT.some((one) => one === state);
}

/** Why an attempt ended without a payment. */
export const TOP_UP_REASONS = [
  /** The provider refuses the request itself, such as the key or the account. */
  'provider_refused',
  /** For a day the provider did not say what became of it, and then it knew of no such payment. */
  'outcome_unknown',
  /** The payment was pending and came to nothing within three weeks. */
  'never_settled',
  'declined',
  'not_acted_on',
] as const;

export type TopUpReason = (typeof TOP_UP_REASONS)[number];

/** What an attempt hears. */
export type TopUpNews =
  | { readonly kind: 'answer'; readonly answer: ChargeAnswer }
  /** The worker that asked is gone, and what it was answered is not known. */
  | { readonly kind: 'lease_lapsed' }
  /** The provider lists no payment with the attempt's id, long after it was asked for. */
  | { readonly kind: 'not_found' }
  /** By its verified event. */
  | { readonly kind: 'paid'; readonly paymentId: string }
  | {
      readonly kind: 'payment_failed';
      readonly paymentId: string;
      readonly declineCode?: string | null;
      readonly isHard?: boolean;
    }
  | { readonly kind: 'payment_pending'; readonly paymentId: string }
  | { readonly kind: 'merchant_failed'; readonly declineCode: string | null; readonly isHard: boolean }
  /** The provider made no page to pay at, and never will for it. */
  | { readonly kind: 'session_refused' }
  | { readonly kind: 'time_over' };

/** How the attempt stands after its news. */
export interface TopUpStep {
  readonly state: TopUpState;
  readonly paymentId?: string | null;
  readonly reason?: TopUpReason;
  readonly declineCode?: string | null;
  /** Somebody who knows says that to try again does not help. */
  readonly isHard?: boolean;
}

interface Standing {
  readonly state: TopUpState;
  readonly paymentId: string | null;
}

/** Decides what news makes of an attempt; null if nothing. Pure. */
export function step(attempt: Standing, news: TopUpNews): TopUpStep | null {
  const { state } = attempt;
  switch (news.kind) {
    case 'answer':
      return answered(attempt, news.answer);
    case 'lease_lapsed':
      return state === 'charging' ? { state: 'unknown' } : null;
    case 'not_found':
      return state === 'unknown' ? { state: 'failed', reason: 'outcome_unknown' } : null;
    case 'paid':
      // Also one that had ended: what is paid is credited, late or not.
      return state === 'succeeded' ? null : { state: 'succeeded', paymentId: news.paymentId };
    case 'payment_failed':
      // Before the API's answer that is still to come: it says why, and the same request would be answered alike.
      return state === 'processing' || state === 'charged'
        ? {
            ...{ state: 'declined', paymentId: news.paymentId, reason: 'declined' },
            ...{ declineCode: news.declineCode ?? null, isHard: news.isHard === true },
          }
        : null;
    case 'payment_pending':
      // Nor does it end the asking of one whose outcome is not known: whose payment it is, the answer says.
      return state === 'charged' || state === 'requested' ? { state: 'processing', paymentId: news.paymentId } : null;
    case 'merchant_failed':
      return state === 'requested'
        ? { state: 'declined', reason: 'declined', declineCode: news.declineCode, isHard: news.isHard }
        : null;
    case 'session_refused':
      return state === 'requested' ? { state: 'failed', reason: 'provider_refused' } : null;
    case 'time_over':
      if (state === 'requested') return { state: 'expired', reason: 'not_acted_on' };
      return state === 'processing' ? { state: 'failed', reason: 'never_settled' } : null;
  }
}

function answered({ state, paymentId: known }: Standing, answer: ChargeAnswer): TopUpStep | null {
  // The payment's own event may come first, and counts more.
  if (state !== 'charging' && state !== 'unknown') return null;
  // A key that was revoked since, or is of another account, is refused whatever the request before it has charged.
  const wasAsked = state === 'unknown';
  switch (answer.kind) {
    case 'charged':
    case 'processing':
      return { state: answer.kind, paymentId: answer.paymentId };
    case 'declined':
      if (wasAsked && answer.paymentId === null) return { state: 'unknown' };
      return {
        ...{ state: 'declined', reason: 'declined' },
        ...{ paymentId: answer.paymentId ?? known, declineCode: answer.declineCode, isHard: answer.isHard === true },
      };
    case 'refused':
      return wasAsked ? { state: 'unknown' } : { state: 'failed', reason: 'provider_refused' };
    case 'unknown':
      return { state: 'unknown' };
  }
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long a worker has an attempt for itself; a call to a provider is given up well before. */
export const LEASE_MS = MINUTE;
/** Keys of requests are forgotten after about a day, so that until then the same request under the same key is the same charge. */
const ASK_AGAIN_FOR_MS = 23 * HOUR;
/** Between the last request and the list that says that there is no such payment. */
const SETTLED_AFTER_MS = 10 * MINUTE;
/**
 * Where every request is another charge: not to be listed after so long is not to exist. A request whose answer was lost is done with within
 * minutes, and nobody documents how late a list may be; for a day nobody else is charged instead.
 */
const LISTED_WITHIN_MS = 23 * HOUR;
/** For so long an attempt is looked at often, an unknown outcome each minute; then each hour. */
const FRESH_FOR_MS = HOUR;
/** What the API calls a success and no event confirms is looked for at the provider. */
const LOOK_FOR_EVENT_AFTER_MS = 15 * MINUTE;

interface Unresolved {
  readonly createdAt: Date;
  readonly askedAt: Date;
  /** Whether the customer may be charged still. */
  readonly isWanted: boolean;
  /** Whether the same request under the same key is the same charge. */
  readonly knowsKeys: boolean;
}

/**
 * What to do next about an attempt whose outcome is not known: ask under the same key, or look through what was paid. To ask again charges
 * where nothing was charged before, so it is for those alone who may be charged still; and where there are no keys, never.
 * `look_on`: what is listed counts, and what is not may be there all the same.
 */
export function howToResolve(
  { createdAt, askedAt, isWanted, knowsKeys }: Unresolved,
  now: Date,
): 'ask_again' | 'look' | 'look_on' | 'wait' {
  if (!knowsKeys) return now.getTime() - askedAt.getTime() < LISTED_WITHIN_MS ? 'look_on' : 'look';
  if (isWanted && now.getTime() - createdAt.getTime() < ASK_AGAIN_FOR_MS) return 'ask_again';
  return now.getTime() - askedAt.getTime() < SETTLED_AFTER_MS ? 'wait' : 'look';
}

/** When an attempt in flight is to be looked at again. */
export function nextLook(state: TopUpState, createdAt: Date, now: Date): Date | null {
  switch (state) {
    case 'requested':
      return new Date(createdAt.getTime() + DAY);
    case 'charging':
      return new Date(now.getTime() + LEASE_MS);
    case 'unknown': {
      const isFresh = now.getTime() - createdAt.getTime() < FRESH_FOR_MS;
      return new Date(now.getTime() + (isFresh ? MINUTE : HOUR));
    }
    case 'charged': {
      const isFresh = now.getTime() - createdAt.getTime() < FRESH_FOR_MS;
      return new Date(now.getTime() + (isFresh ? LOOK_FOR_EVENT_AFTER_MS : HOUR));
    }
    case 'processing':
      return new Date(createdAt.getTime() + 21 * DAY);
    default:
      return null;
  }
}
