//! What a chunk says of its own types: names, fields, and how to step over what is not asked for.
//!
//! Called by the other modules of this folder. Source: the JDK's `MetadataReader`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::JfrError;
use super::cursor::{Cursor, Text};

/// Elements within elements, and values within values. The JDK's own have four.
const MAX_DEPTH: usize = 16;

/// All types of a chunk.
#[derive(Debug, Default)]
pub(super) struct Types {
    by_id: HashMap<u64, Type, ahash::RandomState>,
}

/// A type.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    primitive: Option<Primitive>,
}

/// A type that is known without its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Primitive {
    Byte,
    Short,
    Int,
    Long,
    Float,
    Double,
    Text,
}

impl Primitive {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" | "byte" => Self::Byte,
            "char" | "short" => Self::Short,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "java.lang.String" => Self::Text,
            _ => return None,
        })
    }

    pub(super) fn read<'a>(self, cursor: &mut Cursor<'a>) -> Result<Value<'a>, JfrError> {
        Ok(match self {
            Self::Byte => Value::Number(u64::from(cursor.byte()?)),
            Self::Short => Value::Number(cursor.short()?),
            Self::Int => Value::Number(cursor.int()?),
            Self::Long => Value::Number(cursor.long()?),
            Self::Float => cursor.take(4).map(|_| Value::Other)?,
            Self::Double => cursor.take(8).map(|_| Value::Other)?,
            Self::Text => Value::Text(cursor.text()?),
        })
    }
}

/// A field of one.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    type_id: u64,
    /// The value is a key of the pool of that type.
    pooled: bool,
    array: bool,
}

/// The value of a field, as far as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A whole number or a key of a pool.
    Number(u64),
    /// A string.
    Text(Text<'a>),
    /// It was stepped over: a number with a point, a structure or an array.
    Other,
}

impl Types {
    /// Reads the metadata, whose event has this content.
    pub(super) fn read(mut cursor: Cursor<'_>) -> Result<Self, JfrError> {
        // Start, duration, id.
        for _ in 0..3 {
            cursor.long()?;
        }
        let count = cursor.count()?;
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            strings.push(cursor.text()?.decode());
        }
        let mut types = Self::default();
        types.element(&mut cursor, &strings, (0, None))?;
        Ok(types)
    }

    fn element(
        &mut self,
        cursor: &mut Cursor<'_>,
        strings: &[Cow<'_, str>],
        (depth, class): (usize, Option<u64>),
    ) -> Result<(), JfrError> {
        if depth > MAX_DEPTH {
            return Err(JfrError::TooDeep);
        }
        let string = |cursor: &mut Cursor<'_>| {
            let index = usize::try_from(cursor.int()?).ok();
            let text = index.and_then(|index| strings.get(index)).ok_or(JfrError::Metadata)?;
            Ok::<&str, JfrError>(text)
        };
        let name = string(cursor)?;
        let attributes = cursor.count()?;
        let (mut title, mut id, mut type_id, mut pooled, mut array) = ("", None, None, false, false);
        for _ in 0..attributes {
            let key = string(cursor)?;
            let value = string(cursor)?;
            match key {
                "name" => title = value,
                "id" => id = value.parse().ok(),
                "class" => type_id = value.parse().ok(),
                "constantPool" => pooled = value == "true",
                "dimension" => array = value != "0",
                _ => {}
            }
        }
        let mut inside = None;
        match (name, class, id, type_id) {
            ("class", _, Some(id), _) => {
                let of_id = Type {
                    name: title.to_owned(),
                    fields: Vec::new(),
                    primitive: Primitive::named(title),
                };
                self.by_id.insert(id, of_id);
                inside = Some(id);
            }
            ("field", Some(class), _, Some(type_id)) => {
                let fields = self.by_id.get_mut(&class).map(|class| &mut class.fields);
                let name = title.to_owned();
                fields.ok_or(JfrError::Metadata)?.push(Field {
                    name,
                    type_id,
                    pooled,
                    array,
                });
            }
            ("class" | "field", ..) => return Err(JfrError::Metadata),
            _ => {}
        }
        for _ in 0..cursor.count()? {
            self.element(cursor, strings, (depth + 1, inside))?;
        }
        Ok(())
    }

    pub(super) fn get(&self, id: u64) -> Option<&Type> {
        self.by_id.get(&id)
    }

    /// The type of that name; of several the first.
    pub(super) fn named(&self, name: &str) -> Option<(u64, &Type)> {
        let of_name = self.iter().filter(|(_, of_id)| of_id.name == name);
        of_name.min_by_key(|(id, _)| *id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Type)> {
        self.by_id.iter().map(|(id, of_id)| (*id, of_id))
    }

    /// Steps over a value of the type `id`, as it stands in a pool. `tell` hears of its fields; of a primitive, of itself.
    pub(super) fn value<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        id: u64,
        mut tell: impl FnMut(&str, Value<'a>),
    ) -> Result<(), JfrError> {
        let of = self.composed(id)?;
        match of.primitive {
            Some(primitive) => tell("", primitive.read(cursor)?),
            None => {
                for field in &of.fields {
                    tell(&field.name, self.field(cursor, field)?);
                }
            }
        }
        Ok(())
    }

    /// Steps over the elements of an array, of which `element` is given the place and the type.
    pub(super) fn elements<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        array: &Field,
        mut element: impl FnMut(&mut Cursor<'a>, &Type) -> Result<(), JfrError>,
    ) -> Result<(), JfrError> {
        let of = self.composed(array.type_id)?;
        for _ in 0..cursor.count()? {
            element(cursor, of)?;
        }
        Ok(())
    }

    /// Steps over a field.
    pub(super) fn field<'a>(&self, cursor: &mut Cursor<'a>, field: &Field) -> Result<Value<'a>, JfrError> {
        self.nested(cursor, field, 0)
    }

    /// How a field is read that is one primitive in every event.
    pub(super) fn primitive(&self, field: &Field) -> Option<Primitive> {
        match field {
            Field { array: true, .. } => None,
            // Its key.
            Field { pooled: true, .. } => Some(Primitive::Long),
            Field { type_id, .. } => self.get(*type_id)?.primitive,
        }
    }

    fn nested<'a>(&self, cursor: &mut Cursor<'a>, field: &Field, depth: usize) -> Result<Value<'a>, JfrError> {
        if depth > MAX_DEPTH {
            return Err(JfrError::TooDeep);
        }
        if field.array {
            for _ in 0..cursor.count()? {
                self.single(cursor, field, depth)?;
            }
            return Ok(Value::Other);
        }
        self.single(cursor, field, depth)
    }

    fn single<'a>(&self, cursor: &mut Cursor<'a>, field: &Field, depth: usize) -> Result<Value<'a>, JfrError> {
        if field.pooled {
            return Ok(Value::Number(cursor.long()?));
        }
        let of = self.composed(field.type_id)?;
        if let Some(primitive) = of.primitive {
            return primitive.read(cursor);
        }
        for field in &of.fields {
            self.nested(cursor, field, depth + 1)?;
        }
        Ok(Value::Other)
    }

    /// The type, if its values take a byte at least: what is stepped over is then no more than the file is long.
    fn composed(&self, id: u64) -> Result<&Type, JfrError> {
        self.get(id)
            .filter(|of| of.primitive.is_some() || !of.fields.is_empty())
            .ok_or(JfrError::UnknownType(id))
    }
}

impl Field {
    /// True if its value is some structures, one after the other.
    pub(super) fn is_array_of_structures(&self) -> bool {
        self.array && !self.pooled
    }
}
