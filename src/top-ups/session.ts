import { hash } from 'node:crypto';
import type { SessionOrder } from '../charging/charger.ts';
import type { TopUpState } from './attempt.ts';

/** The page of a provider at which a customer pays a top-up of his own. The request that makes it is kept, so that it is made once. */

/** What is asked for, as the merchant says it. */
export interface SessionWish {
  readonly sourceId: string;
  readonly description: string;
  readonly successUrl: string;
  readonly cancelUrl: string | null;
  readonly expiresInSeconds: number;
}

/** As it is stored with the top-up. */
export interface TopUpSession {
  /** What tells the wish again once the rest is gone. */
  readonly wish: string;
  /** Null once the top-up is final: the addresses are the merchant's, and are needed no more. */
  readonly order:
    | (Pick<SessionOrder, 'description' | 'successUrl' | 'cancelUrl'> & { readonly expiresAt: string })
    | null;
  readonly sessionId: string | null;
  readonly url: string | null;
}

/** A session that is still to be made. */
export function sessionOf(wish: SessionWish, now: Date): TopUpSession {
  const { description, successUrl, cancelUrl, expiresInSeconds } = wish;
  const expiresAt = new Date(now.getTime() + expiresInSeconds * 1000).toISOString();
  const order = { description, successUrl, cancelUrl, expiresAt };
  return { wish: wishHash(wish), order, sessionId: null, url: null };
}

/** Whether a repeated request asks for the same. */
export function isSameWish(session: TopUpSession | null, wish: SessionWish | null): boolean {
  return (session?.wish ?? null) === (wish === null ? null : wishHash(wish));
}

function wishHash({ sourceId, description, successUrl, cancelUrl, expiresInSeconds }: SessionWish): string {
  return hash('sha256', JSON.stringify([sourceId, description, successUrl, cancelUrl, expiresInSeconds]));
}

/** What is kept of it once nobody can pay there. */
export function endedSession(session: TopUpSession | null): TopUpSession | null {
  return session === null ? null : { ...session, order: null, url: null };
}

/** Whether its page is still to be made, which an answer that was lost leaves open. */
export function wantsSession({
  session,
  state,
}: {
  readonly session: TopUpSession | null;
  readonly state: TopUpState;
}): boolean {
  return state === 'requested' && session !== null && session.url === null;
}
