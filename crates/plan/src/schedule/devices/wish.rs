//! What devices ask of a claim that is opened, or of one that is in the making.

use super::{DeviceRefusal, Holder};
use crate::{
    catalog::Slots,
    requirement::Requirements,
    schedule::{
        ask::Ask,
        set::{SetId, Sets, WishId},
        template::Template,
    },
};

/// What devices ask of a claim in the making.
pub(in crate::schedule) struct DeviceWish {
    pub(in crate::schedule) wish: WishId,
    /// Slots whose types have the devices.
    pub(in crate::schedule) slots: Slots,
}

impl DeviceWish {
    /// For a pod that claims devices, from a claim of the template with these requirements and slots.
    pub(in crate::schedule) fn of(
        ask: &Ask<'_>,
        holder: Option<Holder>,
        sets: &mut Sets<'_>,
        set: SetId,
        template: &Template,
        slots: &Slots,
    ) -> Result<Self, DeviceRefusal> {
        let Some(devices) = &ask.devices else {
            return Ok(Self {
                wish: sets.bare_wish(Requirements::new()),
                slots: slots.clone(),
            });
        };
        let requirements = sets.get(set).clone();
        let granted = devices.borrow_mut().claim_accepts(
            ask.pod,
            holder,
            &requirements,
            &template.catalog,
            slots,
        )?;
        Ok(Self {
            wish: sets.bare_wish(granted.requirements),
            slots: granted.slots,
        })
    }
}
