import type { Secret } from '../crypto/secret.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import { refuse } from '../errors.ts';
import { apiKeyProblem, webhookSecretProblem } from '../providers/secret-form.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import { CHARGING_PROVIDERS, type ProviderName } from '../providers/shared/names.ts';
import { replaceChargeKey } from './charge-key-store.ts';
import type { SourceAccountKind, SourceKey } from './source.ts';
import {
  insertWebhookSecret,
  MAX_WEBHOOK_SECRETS,
  replaceApiAccess,
  type SecretServices,
} from './source-secret-store.ts';
import type { SourceDirectory } from './sources.ts';

/** Setting the secrets of sources: what may be set, and whose it may not be. */

const CHARGES: ReadonlySet<ProviderName> = new Set(CHARGING_PROVIDERS);

/** The environment's sources have secrets too, which no other may have. */
type SourceServices = SecretServices & { readonly sources: SourceDirectory };

/**
 * Sets the key by which the provider's API is asked, in the place of the one the source has.
 * @throws {RefusalError} INVALID_FIELD for a key of the wrong form, PROVIDER_NOT_LISTABLE, ENCRYPTION_KEY_MISSING,
 *   ACCOUNT_OF_ANOTHER_SOURCE
 */
export async function storeApiAccess(
  services: SourceServices,
  source: SourceAccountKind,
  apiKey: Secret,
): Promise<void> {
  // Loaded only now: the clients bring providers' SDKs, which would slow down every command of the terminal.
  const { PROVIDER_APIS } = await import('../providers/apis.ts');
  const connect = PROVIDER_APIS[source.provider];
  if (connect === undefined) refuse({ code: 'PROVIDER_NOT_LISTABLE', provider: source.provider });
  try {
    connect?.({ apiKey, mode: source.mode });
  } catch (error) {
    if (!(error instanceof ProviderApiError)) throw error;
    refuse({ code: 'INVALID_FIELD', field: 'api_key', wants: error.message });
  }
  requireKey(services.box);
  const owner = services.sources.configuredWithApiKey(apiKey) ?? (await replaceApiAccess(services, source, apiKey));
  if (owner !== null) refuseAccountOf(owner, source);
}

/**
 * Sets the key by which the source charges, in the place of the one it has; null for none.
 * @throws {RefusalError} INVALID_FIELD for a provider that Chokin cannot charge by, or a key of another form; ENCRYPTION_KEY_MISSING
 */
export async function storeChargeAccess(
  services: SecretServices,
  source: SourceAccountKind,
  chargeKey: Secret | null,
): Promise<void> {
  if (chargeKey !== null) {
    const wants = (what: string) => refuse({ code: 'INVALID_FIELD', field: 'charge_key', wants: what });
    if (!CHARGES.has(source.provider))
      wants('is for sources of Stripe and Dodo; others are charged by whoever hears of topup.requested');
    const problem = apiKeyProblem(chargeKey.reveal());
    if (problem !== null) wants(problem);
    // Dodo documents no form of its keys; one of the other mode is refused by the address that a source of this mode asks.
    if (source.provider === 'stripe' && !chargeKey.reveal().includes(`_${source.mode}_`))
      wants(`wants a key of ${source.mode} mode`);
    requireKey(services.box);
  }
  await replaceChargeKey(services, source, chargeKey);
}

/**
 * Adds a webhook secret, which becomes the newest.
 * @throws {RefusalError} ENCRYPTION_KEY_MISSING, ACCOUNT_OF_ANOTHER_SOURCE, WEBHOOK_SECRET_LIMIT
 */
export async function storeWebhookSecret(
  services: SourceServices,
  source: SourceAccountKind,
  secret: Secret,
): Promise<void> {
  requireKey(services.box);
  const configured = services.sources.configuredWithWebhookSecret(source, secret);
  if (configured !== null) refuseAccountOf(configured, source);
  const problem = await insertWebhookSecret(services, source, secret);
  if (problem === 'full') refuse({ code: 'WEBHOOK_SECRET_LIMIT', most: MAX_WEBHOOK_SECRETS });
  if (problem !== null) refuseAccountOf(problem.owner, source);
}

/**
 * The other source is named to its own merchant alone.
 * @throws {RefusalError} ACCOUNT_OF_ANOTHER_SOURCE, always
 */
export function refuseAccountOf(owner: SourceKey, { merchantId }: SourceKey): never {
  return refuse({
    code: 'ACCOUNT_OF_ANOTHER_SOURCE',
    sourceId: owner.merchantId === merchantId ? owner.sourceId : null,
  });
}

/** @throws {RefusalError} INVALID_FIELD if it is not of the provider's form */
export function checkWebhookSecret(provider: ProviderName, secret: Secret): void {
  const problem = webhookSecretProblem(provider, secret.reveal());
  if (problem !== null) refuse({ code: 'INVALID_FIELD', field: 'webhook_secret', wants: problem });
}

/** @throws {RefusalError} INVALID_FIELD if it is no key that a provider could have made */
export function checkApiKey(apiKey: Secret): void {
  const problem = apiKeyProblem(apiKey.reveal());
  if (problem !== null) refuse({ code: 'INVALID_FIELD', field: 'api_key', wants: problem });
}

/** @throws {RefusalError} ENCRYPTION_KEY_MISSING without a key to encrypt with */
export function requireKey(box: SecretBox): void {
  if (!box.canSeal) refuse({ code: 'ENCRYPTION_KEY_MISSING' });
}

/** What is left out stays; null: the key is forgotten. */
export interface SourceKeys {
  readonly apiKey?: Secret | null;
  readonly chargeKey?: Secret | null;
}
