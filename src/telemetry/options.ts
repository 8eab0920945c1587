import * as v from 'valibot';
import { leaf, type Schema, section } from '../options/schema.js';
import { booleanValidator, readInteger, readName } from '../options/validators.js';

/** Options of telemetry. */
export interface TelemetryOptions {
  /** The most pairs of method and route that are counted apart; further ones count as the route `overflow`. Default: `500`. */
  maxRoutes?: number | undefined;
  /** Whether `cache().topKeys` shows queries of URLs, which may hold secrets. Default: `false`. */
  queries?: boolean | undefined;
  /** Whether instances that share a Redis (`cache.redis`) publish their figures to each other. Default: `true`. */
  instances?: boolean | undefined;
  /** The version of the app, as other instances see it. Default: `npm_package_version` of the environment. */
  version?: string | undefined;
  /** A path on the file system whose free space is watched. Default: the working directory. */
  diskPath?: string | undefined;
  /** Where `/proc` of the machine is mounted. Default: `'/proc'`. */
  procRoot?: string | undefined;
  /** Where the control groups are mounted. Default: `'/sys/fs/cgroup'`. */
  cgroupRoot?: string | undefined;
}

/** Resolved options of telemetry. */
export interface TelemetrySettings {
  readonly maxRoutes: number;
  readonly queries: boolean;
  readonly instances: boolean;
  readonly version?: string | undefined;
  readonly diskPath?: string | undefined;
  readonly procRoot: string;
  readonly cgroupRoot: string;
}

/** Reads the section. */
export const telemetrySchema: Schema<TelemetrySettings> = section({
  maxRoutes: v.optional(leaf(readInteger(1, 10_000)), 500),
  queries: v.optional(leaf(booleanValidator), false),
  instances: v.optional(leaf(booleanValidator), true),
  version: v.optional(leaf(readName)),
  diskPath: v.optional(leaf(readName)),
  procRoot: v.optional(leaf(readName), '/proc'),
  cgroupRoot: v.optional(leaf(readName), '/sys/fs/cgroup'),
});
