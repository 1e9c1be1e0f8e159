import { z } from 'zod';
import type { NewApiKey } from '../merchants/administration.ts';
import type { ApiKeyRecord } from '../merchants/api-key-store.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const keyScope = z.enum(['read', 'write'], { error: 'wants read or write' });

const EXAMPLE_KEY = {
  key_id: EXAMPLE.apiKeyId,
  merchant_id: EXAMPLE.merchantId,
  name: 'Checkout server',
  scopes: ['read', 'write'],
  hint: '…eKey',
  is_default: false,
  created_at: EXAMPLE.since,
  expires_at: EXAMPLE.yearLater,
  last_used_at: EXAMPLE.time,
  revoked_at: null,
} as const;

export const keyShape = z
  .strictObject({
    key_id: z.string(),
    merchant_id: z.string(),
    name: z.string(),
    scopes: z.array(keyScope),
    hint: z.string().nullable().meta({ description: 'How the key ends; null for keys from before there were hints.' }),
    is_default: z.boolean().meta({ description: "The environment's API_KEY, or the key of the first start." }),
    created_at: timestamp,
    expires_at: timestamp.nullable(),
    last_used_at: timestamp.nullable().meta({ description: 'To the minute; null if it never was.' }),
    revoked_at: timestamp.nullable(),
  })
  .meta({ id: 'ApiKey', examples: [EXAMPLE_KEY] });

export const newKeyShape = keyShape
  .extend({
    key: z
      .string()
      .regex(/^ck_(?:test|live)_[0-9A-Za-z]{49}$/)
      .meta({ description: 'The key itself, shown this once and kept nowhere.' }),
  })
  .meta({
    id: 'NewApiKey',
    examples: [{ ...EXAMPLE_KEY, last_used_at: null, key: `ck_live_${'0'.repeat(39)}exampleKey` }],
  });

/** An API key without its secret. */
export function keyResponse(one: ApiKeyRecord): z.output<typeof keyShape> {
  return {
    key_id: one.keyId,
    merchant_id: one.merchantId,
    name: one.name,
    scopes: [...one.scopes],
    hint: one.hint,
    is_default: one.isDefault,
    created_at: one.createdAt.toISOString(),
    expires_at: one.expiresAt?.toISOString() ?? null,
    last_used_at: one.lastUsedAt?.toISOString() ?? null,
    revoked_at: one.revokedAt?.toISOString() ?? null,
  };
}

/** A new API key with its secret, which is shown only now. */
export function newKeyResponse(made: NewApiKey): z.output<typeof newKeyShape> {
  return { ...keyResponse(made), key: made.key };
}
