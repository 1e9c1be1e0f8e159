import { randomUUID } from 'node:crypto';
import { text } from '../views/fields.ts';
import { takes } from './command.ts';
import { note } from './output.ts';

/** Commands that change a wallet once under a key, however often they run. */

export const keyOption = takes(
  '--key <text>',
  'the idempotency key (default: a new one, which is shown)',
  text(255, 1).optional(),
);

/** Printed before the request: if its outcome is lost, the key is needed to repeat it safely. */
export function keyOr(chosen: string | undefined): string {
  const made = chosen ?? `cli_${randomUUID()}`;
  if (chosen === undefined) note(`Idempotency key: ${made} (if no outcome is shown, repeat with --key)`);
  return made;
}

export function noteRepeated(): void {
  note('This was done before under the same key, and is not done again.');
}
