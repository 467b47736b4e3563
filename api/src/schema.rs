//! The table of field facts of Kubernetes 1.36 (`api/schema.json`): JSON name, protobuf number, type, list type, patch
//! strategy, required, default. Strict decoding, protobuf decoding, strategic merge and OpenAPI are driven by it.
//!
//! The text is part of the binary and is read once, on first use; all names borrow from it. Nothing here is written per
//! kind: what is not in the table is not known to this crate.

mod parse;

use std::sync::LazyLock;

use serde_json::Value;

/// The table as text.
pub(crate) const SOURCE: &str = include_str!("../schema.json");

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| parse::schema(SOURCE).expect("the embedded table is well-formed; a test reads it"));

/// The whole table.
pub struct Schema {
    /// In the order of their names.
    types: Box<[Type]>,
    /// Group, version, kind and the type, in that order.
    by_kind: Box<[(Gvk, TypeId)]>,
    kinds: Box<[KindFacts]>,
    object_meta: TypeId,
}

/// Group, version and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gvk {
    /// Empty for core.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
}

/// A type of the table, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u16);

impl TypeId {
    #[must_use]
    pub fn get(self) -> &'static Type {
        &SCHEMA.types[usize::from(self.0)]
    }

    /// `ObjectMeta`, the type of every object's `metadata`.
    #[must_use]
    pub fn object_meta() -> Self {
        SCHEMA.object_meta
    }
}

/// One message type.
#[derive(Debug)]
pub struct Type {
    pub id: TypeId,
    /// `io.k8s.api.batch.v1.JobSpec`
    pub name: &'static str,
    pub gvks: Box<[Gvk]>,
    /// Also a kind of every other served group version (`DeleteOptions`, `WatchEvent`).
    pub every_group: bool,
    /// Exists in JSON only.
    pub json_only: bool,
    /// Server-side apply owns the object as a whole.
    pub atomic: bool,
    /// `x-kubernetes-unions`, as it stands.
    pub unions: Option<Box<Value>>,
    /// In the order of their JSON names.
    pub fields: Box<[Field]>,
    /// Protobuf numbers and the places of their fields, in the order of the numbers.
    by_number: Box<[(Number, u16)]>,
}

impl Type {
    /// The field with that JSON name; case counts.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|position| &self.fields[position])
    }

    /// The place in `fields` of the field with that JSON name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok()
    }

    /// The place in `fields` of the field with that protobuf number.
    #[must_use]
    pub fn position_by_number(&self, number: Number) -> Option<usize> {
        let at = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(usize::from(self.by_number[at].1))
    }

    /// `number` is an embedded message whose fields JSON shows one level up (P-3).
    #[must_use]
    pub fn is_embedded(&self, number: u16) -> bool {
        let at = self.by_number.partition_point(|(other, _)| *other < Number { outer: number, inner: 0 });
        self.by_number.get(at).is_some_and(|(other, _)| other.outer == number)
    }

    /// The last part of the name, which is Go's and proto's name: `JobSpec`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// A protobuf field number. Fields of embedded messages have two (P-3); `outer` is 0 for all others, and both are 0 for a
/// field that is not in the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    pub outer: u16,
    pub inner: u16,
}

impl Number {
    /// The number of a field that stands in the message itself.
    #[must_use]
    pub fn direct(number: u16) -> Self {
        Self { outer: 0, inner: number }
    }
}

/// One field.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub number: Number,
    pub zero: Zero,
    /// In protobuf the list stands in a message of its own (`wire: strings`).
    pub wire_strings: bool,
    pub required: bool,
    pub list: Option<ListType>,
    /// `map` on the field, which is stronger than on its type.
    pub map_atomic: Option<bool>,
    pub patch: Patch,
    pub patch_key: Option<&'static str>,
    /// What only OpenAPI and server-side apply want to know.
    pub notes: Option<Box<Notes>>,
}

/// The rarer facts of a field.
#[derive(Debug, Default)]
pub struct Notes {
    /// The keys of a `map` list.
    pub keys: Vec<&'static str>,
    pub default: Option<Value>,
    pub values: Vec<&'static str>,
    pub item_values: Vec<&'static str>,
}

/// The form of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One(Item),
    List(Item),
    /// Keys are strings.
    Map(Item),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Scalar(Scalar),
    Object(TypeId),
}

/// What is no object of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Int32,
    Int64,
    Bool,
    Double,
    /// base64 in JSON.
    Bytes,
    /// Any JSON.
    Any,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// Any JSON object; its content is outside strict decoding.
    FieldsV1,
    /// As `FieldsV1`.
    RawExtension,
    /// A list of strings as the value of a map.
    Strings,
}

/// What a Go writer does with a zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Leaves it out.
    Omit,
    /// Writes it.
    Keep,
    /// Presence counts: a zero is kept, what is unset is left out.
    Pointer,
    /// As `Pointer`, but what is unset is written `null`.
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// The strategic merge patch strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Lists are replaced, objects and maps are merged.
    Default,
    /// Lists are merged too: by `patch_key`, or as a set of scalars without one.
    Merge,
    /// As `Merge`, and the patch names the fields that stay (`$retainKeys`).
    MergeRetainKeys,
    /// Replaced, also an object.
    Replace,
}

/// What the table says of a kind as a whole.
#[derive(Debug)]
pub struct KindFacts {
    pub gvk: Gvk,
    pub plural: &'static str,
    pub namespaced: bool,
    pub subresources: Vec<&'static str>,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    /// The labels of field selectors (W-137).
    pub selectable: Vec<&'static str>,
    /// The columns of its table, in order (W-147).
    pub columns: Vec<Column>,
}

/// A column of a kind's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub column_type: &'static str,
    /// `name` or empty.
    pub format: &'static str,
    pub priority: i32,
}

/// The type with that full name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Type> {
    let types = &SCHEMA.types;
    types.binary_search_by(|other| other.name.cmp(name)).ok().map(|at| &types[at])
}

/// The type of a kind. `DeleteOptions` and `WatchEvent` are kinds of every group version.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    let by_kind = &SCHEMA.by_kind;
    let found =
        by_kind.binary_search_by(|(gvk, _)| (gvk.group, gvk.version, gvk.kind).cmp(&(group, version, kind))).ok();
    found.map(|at| by_kind[at].1.get()).or_else(|| {
        SCHEMA.types.iter().find(|other| other.every_group && other.gvks.iter().any(|gvk| gvk.kind == kind))
    })
}

/// What the table says of a kind as a whole.
#[must_use]
pub fn kind_facts(group: &str, version: &str, kind: &str) -> Option<&'static KindFacts> {
    SCHEMA.kinds.iter().find(|facts| facts.gvk.group == group && facts.gvk.version == version && facts.gvk.kind == kind)
}

/// The columns of a kind's table, in order; none for a kind that has no table of its own.
#[must_use]
pub fn columns(group: &str, version: &str, kind: &str) -> &'static [Column] {
    kind_facts(group, version, kind).map_or(&[], |facts| &facts.columns)
}

/// All types, in the order of their names.
#[must_use]
pub fn types() -> &'static [Type] {
    &SCHEMA.types
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_types_by_name_and_by_kind() {
        let job = find("io.k8s.api.batch.v1.Job").unwrap();
        assert_eq!(job.short_name(), "Job");
        assert!(std::ptr::eq(find_kind("batch", "v1", "Job").unwrap(), job));
        assert_eq!(find_kind("batch", "v1", "DeleteOptions").unwrap().short_name(), "DeleteOptions");
        assert!(find_kind("batch", "v1", "Pod").is_none());
        assert!(find("io.k8s.api.batch.v1.job").is_none());
    }

    #[test]
    fn finds_fields_by_json_name_with_its_case_and_by_number() {
        let spec = find("io.k8s.api.batch.v1.JobSpec").unwrap();
        let parallelism = spec.field("parallelism").unwrap();
        assert_eq!(parallelism.shape, Shape::One(Item::Scalar(Scalar::Int32)));
        assert_eq!(parallelism.zero, Zero::Pointer);
        assert!(spec.field("Parallelism").is_none());
        assert_eq!(spec.fields[spec.position_by_number(Number::direct(6)).unwrap()].name, "template");

        let volume = find("io.k8s.api.core.v1.Volume").unwrap();
        assert!(volume.is_embedded(2) && !volume.is_embedded(1) && !volume.is_embedded(3));
        let secret = volume.position_by_number(Number { outer: 2, inner: 6 }).unwrap();
        assert_eq!(volume.fields[secret].name, "secret");
    }

    #[test]
    fn knows_columns_and_patch_strategies() {
        let names: Vec<_> = columns("batch", "v1", "Job").iter().map(|column| column.name).collect();
        assert_eq!(names, ["Name", "Status", "Completions", "Duration", "Age", "Containers", "Images", "Selector"]);
        let pod = find("io.k8s.api.core.v1.PodSpec").unwrap();
        let volumes = pod.field("volumes").unwrap();
        assert_eq!((volumes.patch, volumes.patch_key), (Patch::MergeRetainKeys, Some("name")));
    }

    /// Decoding keeps the fields it has seen in a bit set.
    #[test]
    fn no_type_has_more_than_128_fields() {
        assert!(types().iter().all(|each| each.fields.len() <= 128));
    }

    /// Decoding and the generators recurse along the types.
    #[test]
    fn no_type_contains_itself() {
        fn visit(id: TypeId, above: &mut Vec<TypeId>) {
            assert!(!above.contains(&id), "{} contains itself", id.get().name);
            above.push(id);
            for field in &id.get().fields {
                let (Shape::One(item) | Shape::List(item) | Shape::Map(item)) = field.shape;
                if let Item::Object(inner) = item {
                    visit(inner, above);
                }
            }
            above.pop();
        }
        for each in types() {
            visit(each.id, &mut Vec::new());
        }
    }
}
