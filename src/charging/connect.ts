import type { Config } from '../config/env.ts';
import type { Source } from '../merchants/source.ts';
import type { ProviderAccount } from '../providers/shared/api.ts';
import { CHARGING_PROVIDERS } from '../providers/shared/names.ts';
import type { Charger } from './charger.ts';
import { type KeyAccountServices, KeyAccounts } from './key-account.ts';

const CHARGES: ReadonlySet<Source['provider']> = new Set(CHARGING_PROVIDERS);

export interface OpenCharger extends Charger {
  /** Whether it is known that the source hears of what is charged here. What nobody hears of is never credited. */
  readonly isProven: boolean;
}

/**
 * Opens what a source may charge by; null if it may not charge, as where its key opens another account than its events come from. Rejects
 * with a ProviderApiError for a key of the wrong form, and where whose account it opens cannot be asked now.
 */
export type ConnectCharger = (source: Source) => Promise<OpenCharger | null>;

export interface ChargerServices extends KeyAccountServices {
  readonly config: Pick<Config, 'apiUrls'>;
}

export function connectChargers({ config: { apiUrls }, ...services }: ChargerServices): ConnectCharger {
  const accounts = new KeyAccounts(services);
  return async (source) => {
    const { provider, mode, chargeKey: apiKey } = source;
    if (apiKey === null) return null;
    const baseUrl = apiUrls.get(provider);
    const charger = await openCharger(provider, { apiKey, mode, ...(baseUrl === undefined ? {} : { baseUrl }) });
    if (charger === null) return null;
    const verdict = await accounts.judge(source, apiKey);
    return verdict === 'other' ? null : { ...charger, isProven: verdict === 'same' };
  };
}

/** Each is loaded only now, since it brings the provider's package. */
async function openCharger(provider: Source['provider'], account: ProviderAccount): Promise<Charger | null> {
  if (provider === 'stripe') return (await import('./stripe.ts')).stripeCharger(account);
  if (provider === 'dodo') return (await import('./dodo.ts')).dodoCharger(account);
  return null;
}

/**
 * Whether a payment that names a top-up by its id is credited there: a source that sells orders obeys its customers' own metadata
 * in nothing but their names.
 */
function obeysTopUps({ metadata, defaultPurpose }: Pick<Source, 'metadata' | 'defaultPurpose'>): boolean {
  return metadata === 'all' || defaultPurpose === 'topup';
}

/** Whether the source may make pages on which somebody pays. Its payments name a checkout, which every source obeys. */
export function mayOpenSessions({ enabled, provider, chargeKey }: Source): boolean {
  return enabled && provider === 'stripe' && chargeKey !== null;
}

/** Whether wallets may be filled up by charging at this source. */
export function mayCharge(source: Source): boolean {
  return source.enabled && CHARGES.has(source.provider) && source.chargeKey !== null && obeysTopUps(source);
}

/** Whether the source may make pages on which a wallet is filled up. */
export function maySellTopUps(source: Source): boolean {
  return mayCharge(source) && mayOpenSessions(source);
}

const DODO_SUBSCRIPTION = /^sub_[A-Za-z0-9]{1,100}$/;

/** What the name of a payment method has to be at the source; null if it is that. */
export function methodProblem({ provider }: Pick<Source, 'provider'>, methodId: string | null): string | null {
  if (provider !== 'dodo' || (methodId !== null && DODO_SUBSCRIPTION.test(methodId))) return null;
  return 'wants the id of an on-demand subscription of the customer (sub_…), by which Dodo charges';
}
