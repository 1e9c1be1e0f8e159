import type { recordResponse } from '../views/source.ts';
import type { Result } from './command.ts';
import { properties, table, time } from './output.ts';

/** The last letters of a short secret would be too much of it. */
export function shownEnd(hint: string): string {
  return hint === '…' ? 'too short to show' : hint;
}

/** A source as `npx chokin` shows it. */
export function shownSource(one: ReturnType<typeof recordResponse>): Result {
  const facts = properties({
    source: one.source_id,
    provider: one.provider,
    name: one.name,
    mode: one.mode,
    state: one.enabled ? 'enabled' : 'disabled',
    purpose: one.default_purpose,
    metadata: one.metadata,
    refunds: one.refunds,
    disputes: one.disputes,
    customers: one.customer_link_rule,
    accounts: one.accounts.join(', ') || null,
    capture: one.capture,
    webhooks: `POST ${one.webhook_path} at your public address`,
    changed: time(one.updated_at),
  });
  const secrets = table(
    ['secret', 'for', 'ends in', 'added'],
    one.secrets.map((secret) => [secret.secret_id, secret.purpose, shownEnd(secret.hint), time(secret.created_at)]),
    'No secrets.',
  );
  return { json: one, text: `${facts}\n\n${secrets}` };
}
