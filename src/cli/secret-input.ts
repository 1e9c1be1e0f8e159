import { text } from 'node:stream/consumers';
import { readCommandSecret, SECRET_VARIABLES } from '../config/env.ts';
import { Secret } from '../crypto/secret.ts';
import { apiKeyProblem, isPlaceholder, STILL_PLACEHOLDER } from '../providers/secret-form.ts';
import { UsageError } from './command.ts';

/** Secrets come from standard input or the environment: every user of the machine can see a command's arguments. */

const FLAGS = { webhook: '--webhook-secret-stdin', api: '--api-key-stdin' } as const;

const NAMES = { webhook: 'webhook secret', api: 'API key' } as const;

type Purpose = keyof typeof FLAGS;

/**
 * The secret of that purpose, or null if none was given.
 * @throws {UsageError} if it is to come from a standard input that is a terminal or empty, or has the wrong form
 */
export async function readSecret(purpose: Purpose, isOnStdin: boolean): Promise<Secret | null> {
  const secret = isOnStdin ? await fromStdin(purpose) : readCommandSecret(purpose);
  if (secret === null) return null;
  // Of webhook secrets, each provider has its own form.
  const problem =
    purpose === 'api' ? apiKeyProblem(secret.reveal()) : isPlaceholder(secret.reveal()) ? STILL_PLACEHOLDER : null;
  if (problem !== null) throw new UsageError(`the ${NAMES[purpose]}: ${problem}`);
  return secret;
}

/** @throws {UsageError} also if there is none */
export async function readWebhookSecret(isOnStdin: boolean): Promise<Secret> {
  const secret = await readSecret('webhook', isOnStdin);
  if (secret !== null) return secret;
  throw new UsageError(`the webhook secret is missing: ${FLAGS.webhook}, or the variable ${SECRET_VARIABLES.webhook}`);
}

async function fromStdin(purpose: Purpose): Promise<Secret> {
  if (process.stdin.isTTY) {
    throw new UsageError(
      `${FLAGS[purpose]}: a terminal would show the secret; pipe it in, or set ${SECRET_VARIABLES[purpose]}`,
    );
  }
  const secret = (await text(process.stdin)).trim();
  if (secret === '') throw new UsageError(`${FLAGS[purpose]}: standard input is empty`);
  return new Secret(secret);
}
