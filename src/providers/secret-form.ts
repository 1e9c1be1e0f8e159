import { isStandardWebhooksSecret } from '../crypto/standard-webhooks.ts';
import type { ProviderName } from './shared/names.ts';

const MIN_LENGTH = 6;
const MAX_LENGTH = 500;
const ADYEN_HMAC_KEY = /^([0-9a-f]{2}){16,64}$/i;

/** A provider's API key. Lemon Squeezy's are signed tokens of more than a thousand characters. */
export const API_KEY_PATTERN = /^[\x21-\x7e]{8,4200}$/;
export const API_KEY_WANTED = 'wants 8 to 4,200 characters without spaces, as the provider shows it';

/**
 * What is wrong with a provider's webhook secret, completing the sentence "<name>: …", or null. With a mistyped one every
 * delivery would be refused, which looks like an attack rather than like a typing error.
 */
export function webhookSecretProblem(provider: ProviderName, secret: string): string | null {
  if (secret.length < MIN_LENGTH || secret.length > MAX_LENGTH || /\s/.test(secret)) {
    return `wants a secret of ${MIN_LENGTH} to ${MAX_LENGTH} characters without spaces`;
  }
  if (provider === 'dodo' && !isStandardWebhooksSecret(secret)) {
    return 'wants whsec_ and base64, as the Dodo dashboard shows it';
  }
  if (provider === 'adyen' && !ADYEN_HMAC_KEY.test(secret)) {
    return 'wants the HMAC key in hexadecimal, as the Customer Area shows it';
  }
  return null;
}
