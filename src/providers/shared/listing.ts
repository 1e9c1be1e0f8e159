import { z } from 'zod';
import type { Secret } from '../../crypto/secret.ts';
import { ProviderApiError, type Window } from './api.ts';

/** Helpers that the clients of all providers share. */

/** Lemon Squeezy's keys are signed tokens of more than a thousand characters. */
const MAX_KEY_CHARACTERS = 4200;

/** A time of the provider, kept as the text in which it came. */
export const apiTime = z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'wants a time');

/** Whether a time of the provider is before a limit. */
export function isBefore(time: string, limit: Date): boolean {
  return Date.parse(time) < limit.getTime();
}

/** Whether a time of the provider is in a window: `since` is inside, `until` is not. */
export function isWithin(time: string, { since, until }: Window): boolean {
  return !isBefore(time, since) && isBefore(time, until);
}

/** An event as the bytes of its JSON, in the form that webhooks have. */
export function bodyOf(event: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify(event));
}

/** What a provider's API keys look like. */
interface KeyForm {
  readonly provider: string;
  /** Its groups are the parts of the key. */
  readonly form: RegExp;
  /** What to say of a key of another form. */
  readonly problem?: string;
}

/**
 * The parts of a key, by the groups of its form.
 * @throws {ProviderApiError} `refused` if the key is not of that form: in a header it would fail or even leak
 */
export function keyParts(
  apiKey: Secret,
  { provider, form, problem = 'the API key is not of the form it uses' }: KeyForm,
): readonly (string | undefined)[] {
  const key = apiKey.reveal();
  const match = key.length > MAX_KEY_CHARACTERS ? null : form.exec(key);
  if (match === null) throw new ProviderApiError('refused', `${provider}: ${problem}`);
  return match.slice(1);
}

/**
 * The page of a list, which must exist even if it is empty.
 * @throws {ProviderApiError} `refused` if there is nothing at all, as at a wrong address
 */
export function requireList<Answer>(provider: string, answer: Answer | null): Answer {
  if (answer === null) throw new ProviderApiError('refused', `${provider} has no such list (404)`);
  return answer;
}
