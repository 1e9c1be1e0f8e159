import type { Tx } from '../db/transaction.ts';
import { type ProviderApi, ProviderApiError } from '../providers/shared/api.ts';
import {
  deleteLearntElsewhere,
  deleteShared,
  forgetAccounts,
  insertAccounts,
  selectAccounts,
} from './account-store.ts';
import { isOwnedElsewhere, type SourceAccount } from './accounts.ts';
import type { Source, SourceAccountKind } from './source.ts';
import { refuseAccountOf } from './source-secrets.ts';

/** The account that a source's API key opens. Whoever asks for it waits for the provider a short time only. */

/** Opens the API of a source's provider; null if its payments cannot be listed, or there is no API key. */
export type ConnectSource = (
  access: Pick<Source, 'provider' | 'mode' | 'apiKey'>,
) => ProviderApi | null | Promise<ProviderApi | null>;

/** How long a start, or whoever sets an API key, waits for the provider to say whose the key is. */
export const ACCOUNT_WITHIN_MS = 3_000;

export type ApiAccount =
  | { readonly kind: 'known'; readonly account: string }
  /** The provider does not say now, or not to this key. */
  | {
      readonly kind: 'unknown';
      readonly problem: string;
      /** The same question may be answered later; else this key is never told. */
      readonly mayPass: boolean;
    }
  /** There is no key, or the provider never says. */
  | { readonly kind: 'none' };

/** Asks whose account an API key opens. Never throws for what the provider does. */
export async function askAccount(
  connect: ConnectSource,
  access: Pick<Source, 'provider' | 'mode' | 'apiKey'>,
): Promise<ApiAccount> {
  try {
    const api = await connect(access);
    return api === null ? { kind: 'none' } : await accountOf(api, ACCOUNT_WITHIN_MS);
  } catch (error) {
    return unknownBecause(error);
  }
}

/** The same of an API that is open. */
export async function accountOf(api: ProviderApi, timeoutMs: number): Promise<ApiAccount> {
  if (api.account === undefined) return { kind: 'none' };
  try {
    return { kind: 'known', account: await api.account(timeoutMs) };
  } catch (error) {
    return unknownBecause(error);
  }
}

function unknownBecause(error: unknown): ApiAccount {
  if (!(error instanceof ProviderApiError)) throw error;
  const mayPass = error.kind === 'unavailable' || error.kind === 'rate_limited';
  return { kind: 'unknown', problem: error.message, mayPass };
}

/**
 * Notes the account of a key that is just being set, in the place of what older keys told of. A source that shared the account
 * before goes on to.
 * @throws {RefusalError} ACCOUNT_OF_ANOTHER_SOURCE
 */
export async function claimAccount(tx: Tx, claim: AccountClaim, now: Date): Promise<void> {
  const { owner, wasShared } = await takeAccount(tx, claim, now);
  if (owner === null) return;
  if (!wasShared) refuseAccountOf(owner, claim.source);
  await insertAccounts(tx, [rowOf(claim, true)], now);
}

export interface AccountClaim {
  readonly source: SourceAccountKind;
  readonly account: string;
}

/**
 * Notes the account of a source that is there already. Where another answers for it, this one is noted beside it: both go on,
 * and of one merchant's two each payment belongs to the one that posts it first.
 * @returns the other source, of whichever merchant; null if there is none
 */
export async function noteFoundAccount(tx: Tx, claim: AccountClaim, now: Date): Promise<SourceAccount | null> {
  const { owner } = await takeAccount(tx, claim, now);
  if (owner !== null) await insertAccounts(tx, [rowOf(claim, true)], now);
  return owner;
}

interface Taken {
  /** The other source that answers for the account; null if this one does. */
  readonly owner: SourceAccount | null;
  /** Whether this one had it beside the owner before. */
  readonly wasShared: boolean;
}

async function takeAccount(tx: Tx, { source, account }: AccountClaim, now: Date): Promise<Taken> {
  await forgetAccounts(tx, source, { learntFromApi: true, but: [account] });
  // Who has the key is the account's owner; an event proves less.
  await deleteLearntElsewhere(tx, source, [account]);
  const wasShared = (await deleteShared(tx, source, [account])) > 0;
  if ((await insertAccounts(tx, [rowOf({ source, account }, false)], now)) === 1) return { owner: null, wasShared };
  const known = await selectAccounts(tx, [], [{ ...source, account }]);
  const owner = known.find((one) => isOwnedElsewhere(one, source)) ?? null;
  return { owner, wasShared };
}

function rowOf({ source: { merchantId, sourceId, provider, mode }, account }: AccountClaim, isShared: boolean) {
  return { merchantId, sourceId, provider, mode, account, learntFrom: 'api' as const, isShared };
}
