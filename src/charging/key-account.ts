import { hash } from 'node:crypto';
import type { Secret } from '../crypto/secret.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { selectAccounts } from '../merchants/account-store.ts';
import { isOfSource } from '../merchants/accounts.ts';
import { askAccount, type ConnectSource } from '../merchants/api-account.ts';
import type { Source } from '../merchants/source.ts';
import { somePayment } from '../payments/lookups.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import type { Logger } from '../telemetry/log.ts';

/**
 * Whether the key by which a source charges opens the account that the source's events come from. Only events credit: what is charged
 * at another account is money taken for nothing.
 */
export type KeyVerdict = 'same' | 'other' | 'unproven';

export interface KeyEvidence {
  readonly mode: Source['mode'];
  /** The account that the key opens; null where its provider does not say so to this key. */
  readonly keyAccount: string | null;
  /** Those that the source is known to answer for. */
  readonly sourceAccounts: readonly string[];
  /** Whether the key finds a payment that the source has told of; null where there was none, or the key may not look. */
  readonly findsPayment: boolean | null;
}

/** Decides by what is known. Pure. */
export function judgeKey({ mode, keyAccount, sourceAccounts, findsPayment }: KeyEvidence): KeyVerdict {
  if (keyAccount !== null && sourceAccounts.length > 0) return sourceAccounts.includes(keyAccount) ? 'same' : 'other';
  if (findsPayment === true) return 'same';
  // Of a test account payments are made up, and all of them deleted at times.
  return findsPayment === false && mode === 'live' ? 'other' : 'unproven';
}

export interface KeyAccountServices {
  readonly pool: Pool;
  /** Opens the provider's API by any key of the source. */
  readonly connectApi: ConnectSource;
  readonly logger: Logger;
}

/** A key's account stays what it is, but the source's may be set anew. */
const KNOWN_FOR_MS = { same: 10 * 60_000, other: 30_000, unproven: 30_000 } as const;
const MOST_KNOWN = 10_000;
/** How the ids of payments begin that the provider's API finds. */
const PAYMENT_IDS: Readonly<Partial<Record<Source['provider'], string>>> = { stripe: 'pi_', dodo: 'pay_' };
const OTHER_ACCOUNT =
  'the charge key opens another account than the events of its source come from, so that nothing is charged by it: set a key of the same account';

/** What is known of keys that charge, so that not every charge asks for it. */
export class KeyAccounts {
  readonly #services: KeyAccountServices;
  readonly #known = new Map<string, { readonly verdict: KeyVerdict; readonly untilMs: number }>();

  constructor(services: KeyAccountServices) {
    this.#services = services;
  }

  /** @throws {ProviderApiError} where the provider cannot be asked now */
  async judge(source: Source, chargeKey: Secret): Promise<KeyVerdict> {
    const name = [source.merchantId, source.sourceId, hash('sha256', chargeKey.reveal())].join('\0');
    const known = this.#known.get(name);
    if (known !== undefined && known.untilMs > performance.now()) return known.verdict;
    const verdict = judgeKey(await this.#evidence(source, chargeKey));
    // Said as often as it is asked for, and not for each wallet that is not filled up.
    if (verdict === 'other') {
      const { merchantId, sourceId } = source;
      this.#services.logger.error({ merchantId, sourceId }, OTHER_ACCOUNT);
    }
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(name, { verdict, untilMs: performance.now() + KNOWN_FOR_MS[verdict] });
    return verdict;
  }

  async #evidence(source: Source, chargeKey: Secret): Promise<KeyEvidence> {
    const { mode } = source;
    const sourceAccounts = await this.#accountsOf(source);
    const keyAccount = sourceAccounts.length === 0 ? null : await this.#accountOf({ ...source, apiKey: chargeKey });
    const isDecided = keyAccount !== null;
    const findsPayment = isDecided ? null : await this.#findsPayment(source, chargeKey);
    return { mode, keyAccount, sourceAccounts, findsPayment };
  }

  /** As somebody said, else as the key says that reads. */
  async #accountsOf(source: Source): Promise<readonly string[]> {
    const known = await selectAccounts(autocommit(this.#services.pool), [source], []);
    const own = known.filter((one) => isOfSource(one, source)).map(({ account }) => account);
    if (own.length > 0 || source.apiKey === null) return own;
    const account = await this.#accountOf(source);
    return account === null ? [] : [account];
  }

  /** Null where the provider does not say so to this key. */
  async #accountOf(access: Pick<Source, 'provider' | 'mode' | 'apiKey'>): Promise<string | null> {
    const asked = await askAccount(this.#services.connectApi, access);
    if (asked.kind === 'unknown' && asked.mayPass) throw new ProviderApiError('unavailable', asked.problem);
    return asked.kind === 'known' ? asked.account : null;
  }

  async #findsPayment({ merchantId, sourceId, provider, mode }: Source, apiKey: Secret): Promise<boolean | null> {
    const prefix = PAYMENT_IDS[provider];
    if (prefix === undefined) return null;
    const paymentId = await somePayment(autocommit(this.#services.pool), { merchantId, sourceId, prefix });
    const api = paymentId === null ? null : await this.#services.connectApi({ provider, mode, apiKey });
    if (paymentId === null || api === null) return null;
    try {
      return (await api.retrieve('payment', paymentId)) !== null;
    } catch (error) {
      if (error instanceof ProviderApiError && error.kind === 'unauthorized') return null;
      throw error;
    }
  }
}
