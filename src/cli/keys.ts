import type { Command } from 'commander';
import { z } from 'zod';
import { apiKeysOf, createApiKey, endApiKey, type NewApiKey, rotateApiKey } from '../merchants/administration.ts';
import { listWarnings } from '../merchants/key-guard/warning-store.ts';
import { keyResponse, newKeyResponse } from '../views/api-key.ts';
import { text } from '../views/fields.ts';
import { keyWarningResponse } from '../views/key-warning.ts';
import { addMerchantCommand, type Result, takes } from './command.ts';
import { properties, table, time } from './output.ts';
import { limitOption } from './paging.ts';
import { duration, expiry, id } from './values.ts';

const keyId = takes('<key-id>', 'key_…', id);
const SCOPES = ['read', 'write'] as const;

const scopes = z
  .string()
  .transform((list) => [...new Set(list.split(',').map((part) => part.trim()))])
  .pipe(z.array(z.enum(SCOPES, { error: 'wants read, write or read,write' })));

/** The keys by which merchants call the API. */
export function addKeyCommands(group: Command): void {
  addWarningsCommand(group);

  addMerchantCommand(group, {
    name: 'list',
    summary: 'List API keys, newest first',
    takes: {},
    async run(_, { clock, db }, { merchantId }) {
      const items = (await apiKeysOf(db, merchantId)).map(keyResponse);
      const now = clock.now().toISOString();
      const rows = items.map((one) => [
        one.key_id,
        one.name,
        one.hint,
        one.scopes.join(','),
        time(one.created_at),
        time(one.last_used_at),
        state(one, now),
      ]);
      const header = ['key', 'name', 'ends in', 'scopes', 'created', 'last used', 'state'];
      return { json: { items }, text: table(header, rows, 'No keys.') };
    },
  });

  addMerchantCommand(group, {
    name: 'create',
    summary: 'Create an API key and show it, this once',
    takes: {
      name: takes('--name <text>', 'what it is for', text(200, 1)),
      scopes: takes('--scopes <list>', 'what it may do: read, write or read,write', scopes),
      expires: takes('--expires <time>', 'when it ends, such as 30d or 2026-12-31 (default: never)', expiry.optional()),
    },
    async run({ expires, ...input }, { admin, clock }, { merchantId }) {
      const expiresAt = expires === undefined ? null : expires(clock.now());
      return shownOnce(await createApiKey(admin, merchantId, { ...input, expiresAt }));
    },
  });

  addMerchantCommand(group, {
    name: 'rotate',
    summary: 'Create a key like another, which goes on for a while',
    takes: {
      keyId,
      grace: takes('--grace <span>', 'how long the old one goes on (default: 24h)', duration.prefault('24h')),
    },
    async run(input, { admin }, { merchantId }) {
      return shownOnce(await rotateApiKey(admin, { merchantId, keyId: input.keyId }, input.grace));
    },
  });

  addMerchantCommand(group, {
    name: 'revoke',
    summary: 'End a key now; it takes effect within ten seconds',
    takes: { keyId },
    async run(input, { admin, clock }, { merchantId }) {
      const json = keyResponse(await endApiKey(admin, { merchantId, keyId: input.keyId }));
      return { json, text: describe(json, clock.now().toISOString()) };
    },
  });
}

type KeyResponse = ReturnType<typeof keyResponse>;

function state(one: KeyResponse, now: string): string {
  if (one.revoked_at !== null) return `revoked ${time(one.revoked_at)}`;
  if (one.expires_at === null) return 'active';
  return `${one.expires_at <= now ? 'ended' : 'ends'} ${time(one.expires_at)}`;
}

function describe(one: KeyResponse, now: string): string {
  return properties({
    id: one.key_id,
    name: one.name,
    scopes: one.scopes.join(','),
    created: time(one.created_at),
    state: state(one, now),
  });
}

function shownOnce(made: NewApiKey): Result {
  const json = newKeyResponse(made);
  const details = describe(json, json.created_at);
  const keep = 'Keep it: it is shown this once.';
  return { json, text: `${properties({ 'API key': json.key })}\n         ${keep}\n\n${details}` };
}

function addWarningsCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'warnings',
    summary: 'List warnings of idempotency keys, newest first',
    details: 'Keys that hold the time, and entries that are the same but for their keys.',
    takes: { limit: limitOption },
    async run({ limit }, { db }, { merchantId }) {
      const found = await listWarnings(db, merchantId, { before: null, pageSize: limit, pageNumber: 0 });
      const items = found.map(keyWarningResponse);
      const rows = items.map((one) => [
        ...[time(one.created_at), one.kind, one.idempotency_key, one.other_key, one.customer_id, one.key_id],
        one.is_refused ? 'refused' : null,
      ]);
      const header = ['warned', 'of', 'key', 'key before', 'customer', 'API key', ''];
      return { json: { items }, text: table(header, rows, 'No warnings.') };
    },
  });
}
