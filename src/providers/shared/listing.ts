import { z } from 'zod';
import type { Secret } from '../../crypto/secret.ts';
import { ProviderApiError, type Window } from './api.ts';

/** What the clients share. */

/** Lemon Squeezy's keys are signed tokens of more than a thousand characters. */
const MAX_KEY_CHARACTERS = 4200;

/** A time of the provider's, kept as the text it came as. */
export const apiTime = z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'wants a time');

export function isBefore(time: string, limit: Date): boolean {
  return Date.parse(time) < limit.getTime();
}

export function isWithin(time: string, { since, until }: Window): boolean {
  return !isBefore(time, since) && isBefore(time, until);
}

export function bodyOf(event: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify(event));
}

/**
 * The parts of a key, by the groups of `form`. `problem` is what to say of a key of another form.
 * @throws {ProviderApiError} `refused` if it is not of that form; it would only fail, if not leak, in a header
 */
export function keyParts(
  provider: string,
  apiKey: Secret,
  form: RegExp,
  problem = 'the API key is not of the form it uses',
): readonly (string | undefined)[] {
  const key = apiKey.reveal();
  const match = key.length > MAX_KEY_CHARACTERS ? null : form.exec(key);
  if (match === null) throw new ProviderApiError('refused', `${provider}: ${problem}`);
  return match.slice(1);
}

/**
 * The page of a list, which is there even if it is empty.
 * @throws {ProviderApiError} `refused` if there is nothing at all, as at a wrong address
 */
export function pageOf<Answer>(provider: string, answer: Answer | null): Answer {
  if (answer === null) throw new ProviderApiError('refused', `${provider} has no such list (404)`);
  return answer;
}
