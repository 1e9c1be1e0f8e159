import { z } from 'zod';
import { apiKeysOf, createApiKey, endApiKey, type NewApiKey, rotateApiKey } from '../../merchants/administration.ts';
import type { ApiKeyRecord } from '../../merchants/api-key-store.ts';
import { itemsOf, moment, plainIdParams, text, timestamp } from '../../views/fields.ts';
import { adminRoute, type Route } from '../kit/route.ts';
import { merchantParams } from './merchants.ts';

const DAY_SECONDS = 86_400;
const MAX_GRACE_SECONDS = 30 * DAY_SECONDS;
const GRACE_ERROR = `wants a whole number of seconds from 0 to ${MAX_GRACE_SECONDS}`;

const scope = z.enum(['read', 'write'], { error: 'wants read or write' });

const keyShape = z
  .strictObject({
    key_id: z.string(),
    merchant_id: z.string(),
    name: z.string(),
    scopes: z.array(scope),
    hint: z.string().nullable().meta({ description: 'How the key ends; null for keys from before there were hints.' }),
    is_default: z.boolean().meta({ description: "The environment's API_KEY, or the key of the first start." }),
    created_at: timestamp,
    expires_at: timestamp.nullable(),
    last_used_at: timestamp.nullable().meta({ description: 'To the minute; null if it never was.' }),
    revoked_at: timestamp.nullable(),
  })
  .meta({ id: 'ApiKey' });

const newKeyShape = keyShape
  .extend({ key: z.string().meta({ description: 'The key itself, shown this once and kept nowhere.' }) })
  .meta({ id: 'NewApiKey' });

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

export function newKeyResponse(made: NewApiKey): z.output<typeof newKeyShape> {
  return { ...keyResponse(made), key: made.key };
}

const tag = 'Administration';
const path = '/admin/merchants/{merchant_id}/api-keys';
const keyParams = merchantParams.extend(plainIdParams('key_id').shape);

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: 'Create an API key of a merchant; the answer shows it this once',
  params: merchantParams,
  body: z.strictObject({
    name: text(200, 1),
    scopes: z
      .array(scope, { error: 'wants a list of read and write' })
      .min(1, { error: 'wants read, write or both' })
      .max(2, { error: 'wants each scope once' })
      .refine((list) => new Set(list).size === list.length, { error: 'wants each scope once' }),
    expires_at: moment.nullish().meta({ description: 'When it ends by itself; never unless given.' }),
  }),
  response: { description: 'The key.', schema: newKeyShape },
  errors: ['CONFLICT'],
  async handle({ services, params, body: { name, scopes, expires_at: expiresAt = null } }) {
    const made = await createApiKey(services, params.merchant_id, { name, scopes, expiresAt });
    const { merchantId, keyId } = made;
    services.logger.info({ who: 'admin', merchantId, keyId, scopes, expiresAt }, 'an API key was created');
    return newKeyResponse(made);
  },
});

const list = adminRoute({
  method: 'get',
  path,
  tag,
  summary: 'List the API keys of a merchant, newest first, those that have ended included',
  params: merchantParams,
  response: { description: 'The keys.', schema: itemsOf(keyShape) },
  async handle({ services, params }) {
    const keys = await apiKeysOf(services, params.merchant_id);
    return { items: keys.map(keyResponse) };
  },
});

const revoke = adminRoute({
  method: 'delete',
  path: `${path}/{key_id}`,
  tag,
  summary: 'Revoke an API key; it takes effect within ten seconds',
  params: keyParams,
  response: { description: 'The key, revoked.', schema: keyShape },
  async handle({ services, params }) {
    const revoked = await endApiKey(services, params.merchant_id, params.key_id);
    const { merchantId, keyId } = revoked;
    services.logger.info({ who: 'admin', merchantId, keyId }, 'an API key was revoked');
    return keyResponse(revoked);
  },
});

const rotate = adminRoute({
  method: 'post',
  path: `${path}/{key_id}/rotate`,
  tag,
  summary: 'Make a key of the same name and scopes; the old one is good until its grace ends',
  params: keyParams,
  body: z.strictObject({
    grace_seconds: z
      .int({ error: GRACE_ERROR })
      .min(0, { error: GRACE_ERROR })
      .max(MAX_GRACE_SECONDS, { error: GRACE_ERROR })
      .default(DAY_SECONDS),
  }),
  bodyOptional: true,
  response: { description: 'The new key.', schema: newKeyShape },
  errors: ['CONFLICT'],
  async handle({ services, params, body: { grace_seconds: graceSeconds } }) {
    const made = await rotateApiKey(services, params.merchant_id, params.key_id, graceSeconds);
    const { merchantId, keyId } = made;
    const log = { who: 'admin', merchantId, keyId, oldKeyId: params.key_id, graceSeconds };
    services.logger.info(log, 'an API key was rotated');
    return newKeyResponse(made);
  },
});

export const adminApiKeyRoutes: readonly Route[] = [create, list, revoke, rotate];
