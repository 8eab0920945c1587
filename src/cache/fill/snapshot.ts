import type { StoredField, StoredResponse } from '../../store/stored-response.js';
import type { Storable } from './storable.js';

/** A storable response when its headers were sent. */
export interface Snapshot {
  readonly storable: Storable;
  readonly status: number;
  readonly headers: readonly StoredField[];
  readonly removed: readonly string[];
  readonly date: string;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly declaredLength: number | undefined;
  /** When the headers were sent. Milliseconds on the cache's clock. Ages count from this time. */
  readonly at: number;
  /** The client had disconnected when the headers were sent. */
  readonly isClientGone: boolean;
  /** The stored response that a 304 revalidated. Its body is kept. */
  readonly revalidated: StoredResponse | undefined;
  /** `undefined`: the body was not complete, so the rule's function runs again at its end. */
  readonly tags: readonly string[] | undefined;
}
