import { isStandardWebhooksSecret } from '../crypto/standard-webhooks.ts';
import type { ProviderName } from './shared/names.ts';

const ADYEN_HMAC_KEY = /^([0-9a-f]{2}){16,64}$/i;

/** The form that the webhook secrets of all providers have. NUL is refused, since Postgres cannot store it. */
export const WEBHOOK_SECRET_PATTERN = /^[^\s\0]{6,500}$/;
export const WEBHOOK_SECRET_WANTED = 'wants a secret of 6 to 500 characters without spaces';

/** The form of a provider's API key. Those of Lemon Squeezy are signed tokens of more than a thousand characters. */
export const API_KEY_PATTERN = /^[\x21-\x7e]{8,4200}$/;
export const API_KEY_WANTED = 'wants 8 to 4,200 characters without spaces, as the provider shows it';

/** What `.env.example` has where a value is wanted: brackets around it, or three dots in it. No provider makes such a secret. */
export function isPlaceholder(text: string): boolean {
  return text.includes('…') || /^[<‹].*[>›]$/.test(text);
}

/** It completes the sentence "<name>: …". */
export const STILL_PLACEHOLDER = 'is still the placeholder of .env.example: put a value of your own in its place';

/** What is wrong with the key of a provider's API, or null. */
export function apiKeyProblem(key: string): string | null {
  if (isPlaceholder(key)) return STILL_PLACEHOLDER;
  return API_KEY_PATTERN.test(key) ? null : API_KEY_WANTED;
}

/**
 * What is wrong with a provider's webhook secret, or null; it completes the sentence "<name>: …". With a typing error in a
 * secret every delivery would be refused, which would look like an attack.
 */
export function webhookSecretProblem(provider: ProviderName, secret: string): string | null {
  // Who knows the placeholder could sign payments with it.
  if (isPlaceholder(secret)) return STILL_PLACEHOLDER;
  if (!WEBHOOK_SECRET_PATTERN.test(secret)) return WEBHOOK_SECRET_WANTED;
  if (provider === 'dodo' && !isStandardWebhooksSecret(secret)) {
    return 'wants whsec_ and base64, as the Dodo dashboard shows it';
  }
  if (provider === 'adyen' && !ADYEN_HMAC_KEY.test(secret)) {
    return 'wants the HMAC key in hexadecimal, as the Customer Area shows it';
  }
  return null;
}
