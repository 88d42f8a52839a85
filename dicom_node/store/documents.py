"""Which objects tell about images and are none: they are kept, and change nothing of what is found.

Every report that this node writes is one of them. An archive that routes what it receives back to the node
would otherwise have each report make the study new, and so call forth the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import (
    AcquisitionContextSRStorage,
    AdvancedBlendingPresentationStateStorage,
    BasicTextSRStorage,
    BlendingSoftcopyPresentationStateStorage,
    ChestCADSRStorage,
    ColonCADSRStorage,
    ColorSoftcopyPresentationStateStorage,
    CompositingPlanarMPRVolumetricPresentationStateStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    EnhancedXRayRadiationDoseSRStorage,
    ExtensibleSRStorage,
    GrayscalePlanarMPRVolumetricPresentationStateStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplantationPlanSRStorage,
    KeyObjectSelectionDocumentStorage,
    MammographyCADSRStorage,
    MultipleVolumeRenderingVolumetricPresentationStateStorage,
    PatientRadiationDoseSRStorage,
    PerformedImagingAgentAdministrationSRStorage,
    PlannedImagingAgentAdministrationSRStorage,
    ProcedureLogStorage,
    PseudoColorSoftcopyPresentationStateStorage,
    RadiopharmaceuticalRadiationDoseSRStorage,
    SegmentedVolumeRenderingVolumetricPresentationStateStorage,
    SimplifiedAdultEchoSRStorage,
    VariableModalityLUTSoftcopyPresentationStateStorage,
    VolumeRenderingVolumetricPresentationStateStorage,
    WaveformAnnotationSRStorage,
    XAXRFGrayscaleSoftcopyPresentationStateStorage,
    XRayRadiationDoseSRStorage,
)

from dicom_node.records import Instance

DOCUMENT_CLASSES = frozenset(
    {
        # Structured reports and key object selections (PS3.3 A.35)
        AcquisitionContextSRStorage,
        BasicTextSRStorage,
        ChestCADSRStorage,
        ColonCADSRStorage,
        Comprehensive3DSRStorage,
        ComprehensiveSRStorage,
        EnhancedSRStorage,
        EnhancedXRayRadiationDoseSRStorage,
        ExtensibleSRStorage,
        ImplantationPlanSRStorage,
        KeyObjectSelectionDocumentStorage,
        MammographyCADSRStorage,
        PatientRadiationDoseSRStorage,
        PerformedImagingAgentAdministrationSRStorage,
        PlannedImagingAgentAdministrationSRStorage,
        ProcedureLogStorage,
        RadiopharmaceuticalRadiationDoseSRStorage,
        SimplifiedAdultEchoSRStorage,
        WaveformAnnotationSRStorage,
        XRayRadiationDoseSRStorage,
        # Presentation states (PS3.3 A.33)
        AdvancedBlendingPresentationStateStorage,
        BlendingSoftcopyPresentationStateStorage,
        ColorSoftcopyPresentationStateStorage,
        CompositingPlanarMPRVolumetricPresentationStateStorage,
        GrayscalePlanarMPRVolumetricPresentationStateStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        MultipleVolumeRenderingVolumetricPresentationStateStorage,
        PseudoColorSoftcopyPresentationStateStorage,
        SegmentedVolumeRenderingVolumetricPresentationStateStorage,
        VariableModalityLUTSoftcopyPresentationStateStorage,
        VolumeRenderingVolumetricPresentationStateStorage,
        XAXRFGrayscaleSoftcopyPresentationStateStorage,
        # Encapsulated documents (PS3.3 A.45)
        EncapsulatedCDAStorage,
        EncapsulatedPDFStorage,
    }
)
"""SOP classes (PS3.4 table B.5-1) of documents. No reader of any bundle takes them."""


def is_document(sop_class_uid: str) -> bool:
    """Whether objects of this class are documents."""
    return sop_class_uid in DOCUMENT_CLASSES


def without_documents(instances: Iterable[Instance]) -> list[Instance]:
    """What a report is made of: its identity must not depend on the reports that came before it."""
    return [instance for instance in instances if not is_document(instance.sop_class_uid)]
