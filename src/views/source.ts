import { z } from 'zod';
import { hintOf } from '../crypto/secret-box.ts';
import type { Source } from '../merchants/source.ts';
import type { SourceRecord } from '../merchants/source-store.ts';
import { CUSTOMER_LINK_RULES, METADATA_RULES, PURPOSES, REFUND_POLICIES } from '../payments/purpose.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { timestamp } from './fields.ts';

/** How a source is shown to the operator: settings whole, secrets by how they end. */

const secretShape = z
  .strictObject({
    secret_id: z.string().nullable().meta({ description: 'Null for those of the environment.' }),
    purpose: z.enum(['webhook', 'api']).meta({
      description: "webhook: verifies the provider's events; several at once while one is rotated. api: reads its API.",
    }),
    hint: z.string().meta({ description: 'How it ends.' }),
    created_at: timestamp.nullable(),
  })
  .meta({ id: 'SourceSecret' });

export const sourceShape = z
  .strictObject({
    source_id: z.string(),
    merchant_id: z.string(),
    origin: z.enum(['environment', 'record']).meta({
      description: 'environment: configured by the variables of the service, and changed only there.',
    }),
    provider: z.enum(PROVIDER_NAMES),
    name: z.string(),
    mode: z.enum(['test', 'live']),
    enabled: z.boolean(),
    default_purpose: z.enum(PURPOSES),
    metadata: z.enum(METADATA_RULES),
    refunds: z.enum(REFUND_POLICIES),
    customer_link_rule: z.enum(CUSTOMER_LINK_RULES),
    webhook_path: z.string().meta({ description: "What the provider's webhooks are sent to, at this service." }),
    secrets: z.array(secretShape).meta({ description: 'Newest first of each purpose.' }),
    created_at: timestamp.nullable(),
    updated_at: timestamp.nullable(),
  })
  .meta({ id: 'Source' });

type SourceResponse = z.output<typeof sourceShape>;

function settings(one: Source | SourceRecord) {
  return {
    source_id: one.sourceId,
    merchant_id: one.merchantId,
    provider: one.provider,
    mode: one.mode,
    enabled: one.enabled,
    default_purpose: one.defaultPurpose,
    metadata: one.metadata,
    refunds: one.refunds,
    customer_link_rule: one.customerLinkRule,
    webhook_path: `/webhooks/${one.provider}/${one.sourceId}`,
  };
}

export function recordResponse(one: SourceRecord): SourceResponse {
  return {
    ...settings(one),
    origin: 'record',
    name: one.name,
    secrets: one.secrets.map((secret) => ({
      secret_id: secret.secretId,
      purpose: secret.purpose,
      hint: secret.hint,
      created_at: secret.createdAt.toISOString(),
    })),
    created_at: one.createdAt.toISOString(),
    updated_at: one.updatedAt.toISOString(),
  };
}

/** A source of the environment, which has no dates and no ids of secrets. */
export function configuredResponse(one: Source): SourceResponse {
  const shown = (purpose: 'webhook' | 'api', secret: Source['secrets'][number]) => ({
    secret_id: null,
    purpose,
    hint: hintOf(secret.reveal()),
    created_at: null,
  });
  return {
    ...settings(one),
    origin: 'environment',
    name: 'Environment',
    secrets: [
      ...one.secrets.map((secret) => shown('webhook', secret)),
      ...(one.apiKey === null ? [] : [shown('api', one.apiKey)]),
    ],
    created_at: null,
    updated_at: null,
  };
}
